"""Exit codes: 0 done, 1 some instance failed, 2 the user's input is wrong, 130 interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable

from abcrown_graft.errors import AbcrownGraftError

FAILED = 1
WRONG_INPUT = 2
INTERRUPTED = 130


def guarded(command: Callable[[], int]) -> int:
    """Runs a command; an error that the user can mend becomes one line on stderr and exit code 2."""
    try:
        return command()
    except AbcrownGraftError as error:
        line = " ".join(str(error).split())
        print(f"error: {line}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
