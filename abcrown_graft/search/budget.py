"""The time that a search may spend, where several searches share the machine."""

from __future__ import annotations

import time


class Budget:
    """Seconds of one instance; of time that it shares with others it is charged an equal part.

    Attributes:
        sharing: how many searches share the time from now on.
        reserve: seconds that are kept for later: `late` says so when only these are left.
        spent: seconds charged up to the last look.
    """

    def __init__(self, timeout: float) -> None:
        self.sharing = 1
        self.reserve = 0.0
        self.spent = 0.0
        self._timeout, self._last = timeout, time.perf_counter()

    def left(self) -> float:
        """Charges the time since the last look; seconds left, reserve aside, negative where it is overdrawn."""
        now = time.perf_counter()
        self.spent += (now - self._last) / self.sharing
        self._last = now
        return self._timeout - self.reserve - self.spent

    def late(self) -> bool:
        """Whether the time is over."""
        return self.left() < 0

    def share(self, sharing: int) -> None:
        """Shares with so many searches from now on."""
        self.left()
        self.sharing = sharing
