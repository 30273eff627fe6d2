"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it began is tidied up, and what it found is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)  # of `kill`, job schedulers and `docker stop`; of a terminal that is closed


class Interruption:
    """Which signal has ended the command, if one has.

    Attributes:
        signal: SIGINT until another one comes.
    """

    def __init__(self) -> None:
        self.signal = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells have it."""
        return 128 + self.signal


@contextmanager
def ending_signals_interrupt() -> Iterator[Interruption]:
    """Meanwhile the first of `ENDING` raises KeyboardInterrupt; further ones wait for the tidying up.

    A signal that is ignored, as SIGHUP is under `nohup`, stays so. Only the main thread can have it otherwise.
    """
    told = Interruption()

    def interrupt(number: int, frame: FrameType | None) -> None:
        told.signal = signal.Signals(number)
        for one in taken:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    taken = [one for one in ENDING if main and signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, interrupt) for one in taken}
    try:
        yield told
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
