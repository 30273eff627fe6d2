"""Robust training of the plain network: `python scripts/train.py` is `abcrown-graft train`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("train"))
