"""Verdicts, and what is reported of each instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from abcrown_graft.verdict import Verdict

__all__ = ["InstanceResult", "Verdict"]


@dataclass(frozen=True)
class InstanceResult:
    """One instance's outcome.

    Attributes:
        index: of the image in its data set.
        label, predicted: true class, and the class of the clean image.
        verdict: see `Verdict`.
        status: α,β-CROWN's word for it: `safe-incomplete`, `unsafe-pgd`, `unknown`, ...
        seconds: this instance's share of the time its batch took.
        lower_bound: of the smallest margin over all other classes, None where none was computed. It holds in
            real arithmetic if the instance is verified, else up to rounding in the precision of the search.
        margin: smallest margin found by clean prediction and attack.
        reason: what went wrong, for `error` and `out-of-memory`; beside another verdict, what could not be counted.
    """

    index: int
    label: int
    predicted: int
    verdict: Verdict
    status: str
    seconds: float
    lower_bound: float | None = None
    margin: float | None = None
    reason: str | None = None

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "verdict": str(self.verdict)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> InstanceResult:
        """From `to_record`.

        Raises:
            KeyError, ValueError, TypeError: the record is not one of ours.
        """
        if any(type(record[name]) is not int for name in ("index", "label", "predicted")):
            raise ValueError("index, label and predicted must be whole numbers")
        if type(record["seconds"]) not in (int, float):
            raise ValueError("seconds must be a number")
        return cls(**{**record, "verdict": Verdict(record["verdict"])})
