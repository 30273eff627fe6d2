"""Merges instability dumps: `python scripts/merge.py` is `abcrown-graft merge`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("merge"))
