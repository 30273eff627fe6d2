"""Chooses the neurons to graft: `python scripts/mask.py` is `abcrown-graft mask`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("mask"))
