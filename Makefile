# Two commands for a newcomer:
#
#   make run     set everything up, then run the main job: encrypted against plain, fragments rejected
#   make test    set everything up, then lint, types and tests: what CI runs, before `make containers-test`
#
# Everything goes into .venv. System packages are installed only when you are root on Debian or Ubuntu, and
# named before they are; without them everything still works, slower, and says so.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN_RUN := iproute2
DEBIAN_CONTAINERS := aardvark-dns catatonit debootstrap iptables netavark podman runc
DEBIAN_TEST := chromium curl gcc gnutls-bin iperf3 iputils-ping libc6-dev libwolfssl-dev openssl tshark

.PHONY: run test setup setup-test lint types tests docs bench bench-peers containers-test fuzz random-labs clean help

run: setup
	$(BIN)/dtls-emu bench --quick --out results/latest --force

test: setup-test lint types tests

help:
	@sed -n 's/^#   //p' Makefile

setup: $(VENV)/.installed

setup-test: $(VENV)/.installed-test

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-test
	$(BIN)/mypy

tests: setup-test
	@sh .ci/open-tun
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadgroup

# The site, into build/docs: any warning, and any link within it that leads nowhere, is an error.
docs: setup
	@$(BIN)/pip install --quiet --disable-pip-version-check --group docs
	@rm -rf build/docs build/doctrees
	$(BIN)/sphinx-build --quiet --fail-on-warning --nitpicky --keep-going --doctree-dir build/doctrees docs build/docs
	$(BIN)/python docs/check_site.py build/docs
	@echo "The site is in build/docs/index.html"

bench: setup-test
	$(BIN)/pytest bench --benchmark-enable --benchmark-columns=min,median,iqr,ops

# Builds an image and starts labs as containers and pods; as root, two to three minutes.
containers-test: setup-test
	@sh .ci/system-packages $(DEBIAN_CONTAINERS)
	@$(BIN)/pip install --quiet --disable-pip-version-check --group containers
	@sh .ci/open-tun
	$(BIN)/pytest -m containers tests/containers

# Coverage-guided, a minute for each way in.
fuzz: setup-test
	@$(BIN)/pip install --quiet --disable-pip-version-check --group fuzz
	for each in card_datagrams card_frames tunnel_datagrams lab_files flow_logs; do \
		$(BIN)/python tests/fuzz/fuzz.py $$each --seconds 60 || exit 1; done

# 2,000 labs, each run twice: counters, waiting packets, what is in clear, the same again. About 20 minutes.
random-labs: setup-test
	$(BIN)/python tests/fuzz/random_labs.py --labs 2000 --jobs $$(nproc)

bench-peers: setup-test
	$(BIN)/python bench/peers/compare.py

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml .ci/system-packages
	@sh .ci/system-packages python3-venv ipsec-mb $(DEBIAN_RUN)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "dtls-emu needs Python >= 3.11; name one: make PYTHON=python3.12"; exit 1; }
	@echo "installing dtls-emu and what it needs into $(VENV), from PyPI"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[metrics,serve,report]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@sh .ci/system-packages $(DEBIAN_TEST)
	@echo "installing what the tests need into $(VENV), from PyPI"
	@$(BIN)/pip install --quiet --disable-pip-version-check --group dev
	@touch $@
