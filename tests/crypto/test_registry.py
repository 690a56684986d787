"""Backends are found, probed and chosen; one that is broken is unavailable with a reason."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from dtls_emu.crypto import registry
from dtls_emu.crypto.danger_null import DangerNullBackend
from dtls_emu.crypto.registry import available, backend_names, load, resolve
from dtls_emu.errors import BackendUnavailableError


class Working(DangerNullBackend):
    name = "working"


class Raising:
    def __init__(self):
        raise RuntimeError("the card is on fire")


class Leaving:
    def __init__(self):
        raise SystemExit(3)


class Incomplete:
    name = "incomplete"
    summary = "no attach, no detail"
    protects = True
    needs_connection = False


class Lying:
    """Its `detail` raises only when it is asked for."""

    name = "lying"
    summary = protects = needs_connection = attach = None

    @property
    def detail(self):
        raise OSError("lost the card")


PLUG_INS = {
    "working": Working,
    "raising": Raising,
    "leaving": Leaving,
    "incomplete": Incomplete,
    "lying": Lying,
    "other-name": Working,
}


@pytest.fixture
def plug_ins(monkeypatch):
    """The package's own backends, and a collection of plug-ins."""
    installed = [
        *registry.entry_points(group=registry.ENTRY_POINTS),
        *(
            EntryPoint(name, f"{__name__}:{backend.__name__}", registry.ENTRY_POINTS)
            for name, backend in PLUG_INS.items()
        ),
        EntryPoint("gone", "no_such_package_anywhere:Backend", registry.ENTRY_POINTS),
        EntryPoint("twice", "one_package:Backend", registry.ENTRY_POINTS),
        EntryPoint("twice", "another_package:Backend", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "entry_points", EntryPoints(installed).select)
    load_module = EntryPoint.load
    monkeypatch.setattr(
        EntryPoint,
        "load",
        lambda point: globals()[point.attr] if point.module == __name__ else load_module(point),
    )


def test_the_packages_own_backends_come_first():
    """In the order in which they are explained, plug-ins after them by name."""
    assert backend_names()[:5] == ["openssl", "cryptography", "libcrypto", "ipsec-mb", "null"]


@pytest.mark.usefixtures("plug_ins")
def test_plug_ins_are_found_and_work():
    """Named, and listed behind ours."""
    assert load("working").name == "working"
    assert backend_names()[5:] == sorted([*PLUG_INS, "gone", "twice"])


@pytest.mark.usefixtures("plug_ins")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raising", "Raising failed: RuntimeError: the card is on fire"),
        ("leaving", "Leaving failed: SystemExit: 3"),
        ("incomplete", "Incomplete is no backend: it has no detail, attach"),
        ("lying", "Lying failed: OSError: lost the card"),
        ("other-name", "Working is installed as 'other-name' but calls itself 'working'"),
        ("gone", "Backend failed: ModuleNotFoundError: No module named 'no_such_package_anywhere'"),
        ("twice", "'twice' is claimed by another_package:Backend and one_package:Backend; uninstall one"),
        (
            "nobody",
            "no backend is called 'nobody'; there are openssl, cryptography, libcrypto, ipsec-mb, null, ",
        ),
    ],
)
def test_a_broken_plug_in_is_a_reason_and_never_a_crash(name, reason):
    """Whatever it does while it is loaded or constructed."""
    with pytest.raises(BackendUnavailableError) as raised:
        load(name)
    assert reason in str(raised.value)
    if name in backend_names():
        assert reason in dict(available())[name]


@pytest.fixture
def failing(monkeypatch):
    """Names of backends that cannot work here; the test fills it."""
    names: set[str] = set()

    def load_unless_failing(name):
        if name in names:
            raise BackendUnavailableError("not here")
        return load(name)

    monkeypatch.setattr(registry, "load", load_unless_failing)
    return names


@pytest.mark.ipsec_mb
def test_auto_takes_the_fastest():
    """The library, where it is."""
    choice = resolve("auto")
    assert (choice.backend.name, choice.reason) == ("ipsec-mb", "the fastest backend that works here")


def test_auto_says_what_it_passed_over_and_why(failing):
    """Without either library it is `cryptography`."""
    failing.update({"ipsec-mb", "libcrypto"})
    choice = resolve()
    assert choice.backend.name == "cryptography"
    assert choice.reason == (
        "the fastest backend that works here; ipsec-mb is not available: not here; libcrypto is not available: not here"
    )


@pytest.mark.libcrypto
def test_auto_takes_the_systems_openssl_where_ipsec_mb_is_not(failing):
    """On any processor."""
    failing.add("ipsec-mb")
    choice = resolve()
    assert choice.backend.name == "libcrypto"
    assert choice.reason == "the fastest backend that works here; ipsec-mb is not available: not here"


def test_auto_never_falls_back_to_no_protection(failing):
    """Nor to the backend that cannot hand over; there is nothing left then."""
    failing.update({"ipsec-mb", "libcrypto", "cryptography"})
    with pytest.raises(BackendUnavailableError) as raised:
        resolve()
    assert str(raised.value) == (
        "ipsec-mb is not available: not here; libcrypto is not available: not here; "
        "cryptography is not available: not here"
    )


def test_a_name_is_taken_at_its_word(failing):
    """No fallback behind the user's back."""
    assert resolve("null").backend.name == "null"
    failing.add("ipsec-mb")
    with pytest.raises(BackendUnavailableError, match="not here"):
        resolve("ipsec-mb")
