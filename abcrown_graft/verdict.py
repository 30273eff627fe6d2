"""What is known of an instance."""

from __future__ import annotations

import enum


class Verdict(str, enum.Enum):
    """What is known of an instance; never merged."""

    VERIFIED = "verified"
    FALSIFIED = "falsified"
    UNKNOWN = "unknown"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out-of-memory"
    ERROR = "error"

    def __str__(self) -> str:
        return self.value
