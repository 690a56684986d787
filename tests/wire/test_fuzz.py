"""No kernel reads or writes outside the arrays it was given, whatever is in them."""

import os
import secrets
import subprocess
import sys
from pathlib import Path


PROGRAM = Path(__file__).with_name("fuzz_kernels.py")
ROUNDS = 6_000
"""Two seconds; a fuzzer that runs for hours takes the same program."""


def test_kernels_stay_inside_their_arrays(tmp_path):
    """Damaged packets against every kernel, each access checked. Another seed each time; a failure names it."""
    # Numba's cache does not know whether bounds checks were compiled in, nor that a kernel inlined another one.
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    command = [sys.executable, str(PROGRAM), seed, str(ROUNDS)]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(outcome.stdout, outcome.stderr)
    assert outcome.returncode == 0, outcome.stderr
