"""Exit codes: 0 done, 1 some instance failed, 2 the user's input is wrong, 128 + n ended by signal n."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from abcrown_graft.cli.signals import ending_signals_interrupt
from abcrown_graft.errors import AbcrownGraftError

FAILED = 1
WRONG_INPUT = 2


def guarded(command: Callable[[], int]) -> int:
    """Runs a command; an error that the user can mend becomes one line on stderr and exit code 2.

    SIGINT, SIGTERM and SIGHUP let it tidy up and become one line too, and exit codes 130, 143 and 129.
    """
    # Threads that spin for long while they wait cost a factor of ten where other programs share the cores; torch's
    # OpenMP reads this when it is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    with ending_signals_interrupt() as interruption:
        try:
            return _told(command)
        except KeyboardInterrupt:
            print("interrupted; run the same command again to go on", file=sys.stderr)
            return interruption.exit_code


def _told(command: Callable[[], int]) -> int:
    try:
        code = command()
        sys.stdout.flush()
        return code
    except AbcrownGraftError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        _silence_stdout()
        return FAILED
    except OSError as error:
        if error.strerror is None:
            raise
        # Writing to an open file, of a full disk for one, leaves the name out.
        return _refuse(error.strerror if error.filename is None else f"{error.filename}: {error.strerror}")


def _refuse(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return WRONG_INPUT


def _silence_stdout() -> None:
    """Points stdout at nothing: its reader is gone, and flushing its buffer when Python exits must not raise again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
