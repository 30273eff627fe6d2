"""Verdicts, and what is reported of each instance."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

NO_LABEL = -1  # in results: what an instance that speaks of no class has for a label, and for a predicted class


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


@dataclass(frozen=True)
class InstanceResult:
    """One instance's outcome.

    Attributes:
        index: of the image in its data set.
        label, predicted: true class, and the class of the clean image; `NO_LABEL` where there is none.
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
            KeyError, ValueError, TypeError, OverflowError: the record is not one of ours.
        """
        for name, lowest in (("index", 0), ("label", NO_LABEL), ("predicted", NO_LABEL)):
            if type(record[name]) is not int or record[name] < lowest:
                raise ValueError(f"index, label and predicted must be whole numbers, not {name} = {record[name]!r}")
        if not _is_number(record["seconds"]) or not 0 <= record["seconds"] < math.inf:
            raise ValueError(f"seconds must be a number of at least 0, not {record['seconds']!r}")
        for name in ("lower_bound", "margin"):
            if record.get(name) is not None and not _is_number(record[name]):
                raise ValueError(f"{name} must be a number or null, not {record[name]!r}")
        if type(record["status"]) is not str or type(record.get("reason")) not in (str, type(None)):
            raise ValueError("status must be a text, reason a text or null")
        return cls(**{**record, "verdict": Verdict(record["verdict"])})


def _is_number(value: object) -> bool:
    """Whether a value of JSON is a number; infinity is one, NaN is not."""
    return type(value) in (int, float) and not math.isnan(value)
