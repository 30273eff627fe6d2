"""Before/after table of finished runs: `python scripts/report.py` is `abcrown-graft report`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("report"))
