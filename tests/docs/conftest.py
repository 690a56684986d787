"""So that the tests find what they share, and the scripts that build the site."""

import sys
from pathlib import Path


ROOT = Path(__file__).parents[2]

for folder in (Path(__file__).parent, ROOT / "docs"):
    sys.path.append(str(folder))
