"""Grafts the plain network and tunes it: `python scripts/tune.py` is `abcrown-graft tune`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("tune"))
