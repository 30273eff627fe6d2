"""Clean and PGD accuracy: `python scripts/evaluate.py` is `abcrown-graft evaluate`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("evaluate"))
