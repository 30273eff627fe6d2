"""Input split: branch and bound over the input box, for networks of few inputs.

A box is halved until CROWN proves every clause on each part. All of it is float64 with rounding accounted for: a box
is dropped only by a bound that holds in real arithmetic, and the parts cover the box that was halved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.network.graph import Network
from abcrown_graft.search.bab import CHECKED_POINTS, JudgePoints, SearchResult, SearchSettings
from abcrown_graft.search.box_task import BoxTask, Lines
from abcrown_graft.search.boxes import Boxes, BoxStack, can_be_halved, clipped, halved, middle
from abcrown_graft.search.budget import Budget
from abcrown_graft.search.input_branching import InputBranching, hardest, of_clause
from abcrown_graft.search.options import INPUT_BRANCHING
from abcrown_graft.search.task import Steps, bounded_boxes
from abcrown_graft.verdict import Verdict


@dataclass(frozen=True)
class InputSplit:
    """When to split inputs, and how.

    Attributes:
        most_inputs: networks of more inputs have their neurons split instead.
        alone: never split neurons; otherwise a search that does takes turns with this one when that takes long.
        branching: which input to halve.
    """

    most_inputs: float = 20
    alone: bool = False
    branching: InputBranching = InputBranching()

    def suits(self, network: Network) -> bool:
        """Whether the network has few enough inputs."""
        return torch.Size(network.input.shape).numel() <= self.most_inputs


def input_split_steps(
    network: Network,
    specification: Specification,
    root: Lines,
    settings: SearchSettings,
    branching: InputBranching,
    budget: Budget,
    judge_points: JudgePoints | None = None,
) -> Steps[SearchResult]:
    """Decides one instance, in steps that may be shared with other searches.

    Args:
        network: in float64.
        specification: of one instance, in float64.
        root: what is known on the whole box.
        settings: of these, `batch_size` counts boxes bounded at once, `max_domains` boxes bounded in all.
        branching: which input to halve.
        budget: what may be spent.
        judge_points: told points that may be counterexamples; None skips that.
    """
    return (yield from _InputSplit(network, specification, settings, branching, budget, judge_points).steps(root))


class _InputSplit:
    def __init__(
        self,
        network: Network,
        specification: Specification,
        settings: SearchSettings,
        branching: InputBranching,
        budget: Budget,
        judge_points: JudgePoints | None,
    ) -> None:
        self.network, self.specification, self.settings = network, specification, settings
        self.branching, self.budget, self.judge_points = branching, budget, judge_points
        self.open = BoxStack()
        self.visited = 0
        self.counterexample: Tensor | None = None

    def steps(self, root: Lines) -> Steps[SearchResult]:
        box = self.specification.box
        unknown = torch.full_like(root.lower[:, :, 0], -torch.inf)
        self._keep_open(box.lower.flatten(1), box.upper.flatten(1), root, unknown)
        while self.open and self.counterexample is None:
            if self.budget.late():
                return self._result(Verdict.TIMEOUT)
            if self.visited >= self.settings.max_domains:
                return self._result(Verdict.UNKNOWN)
            taken = self.open.take(max(1, self.settings.batch_size // (2 * self.budget.sharing)))
            if bool((taken.axis < 0).any()):
                return self._stuck(taken)
            lower, upper = halved(taken)
            found = yield from bounded_boxes(BoxTask(self.network, self._on(lower, upper), self.budget))
            if found is None:
                self.open.push(taken)
                continue
            self.visited += len(lower)
            self._keep_open(lower, upper, found, taken.clauses.repeat_interleave(2, 0))
        return self._result(Verdict.VERIFIED if self.counterexample is None else Verdict.FALSIFIED)

    def _on(self, lower: Tensor, upper: Tensor) -> Specification:
        """The property on boxes of ends `(n, inputs)`."""
        whole, n = self.specification, len(lower)
        box = Box(lower.reshape(n, *self.network.input.shape), upper.reshape(n, *self.network.input.shape))
        return Specification(box, whole.rows.expand(n, -1, -1, -1), whole.offsets.expand(n, -1, -1))

    def _keep_open(self, lower: Tensor, upper: Tensor, found: Lines, known: Tensor) -> None:
        """Drops the boxes that are proved, tries points of the worst others as counterexamples, and clips these.

        Args:
            lower, upper: ends, `(n, inputs)`.
            found: what is known on them.
            known: clauses of the boxes they are parts of, `(n, clauses)`; what bounds a box bounds its parts too.
        """
        clauses = torch.maximum(known, torch.where(found.lower.isfinite(), found.lower, -torch.inf).amax(2))
        proved = clauses > 0
        box = clipped(lower, upper, found.coefficients, found.lower, proved)
        rest = (~(proved.all(1) | (box.lower > box.upper).any(1))).nonzero().flatten()
        if not len(rest):
            return
        found, clauses, low, high = found[rest], clauses[rest], box.lower[rest], box.upper[rest]
        self._check(Box(lower[rest], upper[rest]), found, clauses)
        axis = chosen_axis(high - low, can_be_halved(low, high), found, clauses, self.branching)
        self.open.push(Boxes(low, high, clauses, axis))

    def _stuck(self, taken: Boxes) -> SearchResult:
        """Some of the boxes are too small to be halved, and no bound decides them; a corner may yet fail."""
        self.open.push(taken)
        if self.judge_points is not None:
            self.counterexample = self.judge_points(taken[taken.axis < 0].lower)
        return self._result(Verdict.UNKNOWN if self.counterexample is None else Verdict.FALSIFIED)

    def _check(self, boxes: Box, found: Lines, clauses: Tensor) -> None:
        """Of the worst boxes, the centres, and the points where the lines below the hardest clauses are smallest."""
        if self.judge_points is None:
            return
        worst = clauses.amin(1).topk(min(CHECKED_POINTS, len(clauses)), largest=False).indices
        clause, boxes, found = hardest(clauses[worst]), boxes[worst], found[worst]
        nearest = of_clause(found.lower, clause).argmax(1)
        slope = of_clause(of_clause(found.coefficients, clause), nearest)
        centres = middle(boxes.lower, boxes.upper)
        corners = torch.where(slope > 0, boxes.lower, torch.where(slope < 0, boxes.upper, centres))
        self.counterexample = self.judge_points(torch.cat([corners, centres]))

    def _result(self, verdict: Verdict) -> SearchResult:
        return SearchResult(verdict, self.visited, min(0.0, self.open.lowest), self.counterexample)


def chosen_axis(width: Tensor, halvable: Tensor, found: Lines, clauses: Tensor, settings: InputBranching) -> Tensor:
    """The input to halve in each box, `(n,)`; -1 where none can be.

    Args:
        width: of the boxes, `(n, inputs)`.
        halvable: which inputs can be halved, `(n, inputs)`.
        found: what is known of the literals.
        clauses: bounds of the clauses, `(n, clauses)`.
        settings: the rule.
    """
    scores = INPUT_BRANCHING[settings.method](width, found, clauses, settings).nan_to_num()
    best = torch.where(halvable, scores, -torch.inf).argmax(1)
    return torch.where(halvable.any(1), best, -1)
