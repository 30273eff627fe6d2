"""What an exception says of the instance that it ended."""

from __future__ import annotations

from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.memory import is_out_of_memory


def failure(error: BaseException) -> str:
    """One line on what went wrong."""
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"


def verdict_of(error: BaseException) -> Verdict:
    """The verdict on an instance without an answer: `out-of-memory` or `error`, never `timeout`."""
    return Verdict.OUT_OF_MEMORY if is_out_of_memory(error) else Verdict.ERROR
