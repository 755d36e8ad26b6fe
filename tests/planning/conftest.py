"""The toy server of tests/generation, for plans that are held against what is then really sent."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))
