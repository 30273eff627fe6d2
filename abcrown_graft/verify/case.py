"""An instance to be decided: boxes of inputs, and clauses that must hold for every output of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.verdict import NO_LABEL, InstanceResult, Verdict

Judge = Callable[[Tensor, Tensor], bool]
"""From an input `shape` and the original model's output `(outputs,)` to whether they are a counterexample indeed."""


@dataclass(frozen=True, eq=False)
class Case:
    """One instance. It holds if its clauses hold in all of its boxes.

    Attributes:
        index: its number: of an image in its data set, of a row in its list.
        specifications: one for each box, a batch of one in float64; none at all: there is no counterexample.
        clean: the input that is tried first, `shape`; None takes the middle of each box.
        label: the class of an image; None where the case speaks of no class.
        nearest: of the clauses only the one counts that is smallest at `clean`, see `Specification.nearest`.
        judge: has the last word on a counterexample; None leaves it to the clauses.
        spent: seconds of its time that are gone already.
        warning: what is remarkable of the property; the `reason` of a result that has no other.
    """

    index: int
    specifications: tuple[Specification, ...]
    clean: Tensor | None = None
    label: int | None = None
    nearest: bool = False
    judge: Judge | None = None
    spent: float = 0.0
    warning: str | None = None

    def start(self, dtype: torch.dtype) -> Tensor:
        """The input that is tried first, of a case of one box."""
        if self.clean is not None:
            return self.clean
        (specification,) = self.specifications
        return (specification.box.lower[0] / 2 + specification.box.upper[0] / 2).to(dtype)

    def result(
        self, verdict: Verdict, status: str, seconds: float, predicted: int = NO_LABEL, **found: Any
    ) -> InstanceResult:
        """What is reported of it.

        Args:
            verdict, status, seconds, found: see `InstanceResult`.
            predicted: the class of the clean input, which is of no interest where there is no label.
        """
        if self.label is None:
            return InstanceResult(self.index, NO_LABEL, NO_LABEL, verdict, status, seconds, **found)
        return InstanceResult(self.index, self.label, predicted, verdict, status, seconds, **found)


def image_cases(
    images: Tensor, labels: Tensor, indices: Sequence[int], robustness: Robustness, outputs: int
) -> Iterator[Case]:
    """The robustness of images as cases, each made when it is asked for.

    Args:
        images, labels: `(n, *shape)` pixels in [0, 1], and classes `(n,)`.
        indices: the data set's number of each image.
        robustness: what is to be proved of each.
        outputs: how many the model has.
    """
    for k, index in enumerate(indices):
        made = robustness(images[k : k + 1], labels[k : k + 1], [int(index)], outputs)
        yield Case(int(index), (made,), images[k], int(labels[k]), robustness.nearest)
