"""What is installed, and what each missing piece costs: `python scripts/doctor.py` is `abcrown-graft doctor`."""

import sys

from abcrown_graft.cli.tools import stage_main

if __name__ == "__main__":
    sys.exit(stage_main("doctor"))
