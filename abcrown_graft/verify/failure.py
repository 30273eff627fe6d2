"""What an exception says of the instance that it ended."""

from __future__ import annotations

from abcrown_graft.verdict import NO_LABEL, InstanceResult, Verdict
from abcrown_graft.verify.memory import is_out_of_memory


def failure(error: BaseException) -> str:
    """One line on what went wrong."""
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"


def verdict_of(error: BaseException) -> Verdict:
    """The verdict on an instance without an answer: `out-of-memory` or `error`, never `timeout`."""
    return Verdict.OUT_OF_MEMORY if is_out_of_memory(error) else Verdict.ERROR


def failed(
    error: BaseException,
    index: int,
    seconds: float = 0.0,
    *,
    label: int | None = None,
    predicted: int = NO_LABEL,
    reason: str | None = None,
) -> InstanceResult:
    """What is reported of an instance that an exception ended.

    Args:
        index, seconds: see `InstanceResult`.
        label: None where there is none, and so no predicted class either.
        predicted: the class of the clean image, if it is known.
        reason: what went wrong, if it is not `failure`'s line.
    """
    classes = (NO_LABEL, NO_LABEL) if label is None else (label, predicted)
    verdict = verdict_of(error)
    return InstanceResult(index, *classes, verdict, str(verdict), seconds, reason=reason or failure(error))
