"""Writes a benchmark for other verifiers: `python scripts/export.py` is `abcrown-graft export`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("export"))
