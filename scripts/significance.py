"""Scores every neuron's significance: `python scripts/significance.py` is `abcrown-graft significance`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("significance"))
