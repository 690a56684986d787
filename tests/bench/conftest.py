"""The scripts under test live beside the package, in a folder that is on the path only when they run."""

import sys
from pathlib import Path


sys.path.append(str(Path(__file__).parents[2] / "bench" / "peers"))
