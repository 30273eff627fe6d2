"""Counts unstable neurons over a split: `python scripts/instability.py` is `abcrown-graft instability`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("instability"))
