"""All stages of the pipeline: `python scripts/run.py` is `abcrown-graft run`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("run"))
