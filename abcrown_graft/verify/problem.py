"""The settings of a verification run, and the state of a batch on its way through the cascade."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from abcrown_graft.attack.pgd import PGDSettings
from abcrown_graft.bounds.propagate import NetworkBounds, bound_network
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.network.graph import Network
from abcrown_graft.search.bab import SearchSettings
from abcrown_graft.search.input_split import InputSplit
from abcrown_graft.search.mip import MipSettings
from abcrown_graft.verdict import NO_LABEL, InstanceResult, Verdict
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.failure import failure, verdict_of


@dataclass(frozen=True)
class VerifySettings:
    """How hard to try.

    Attributes:
        method: bounds of the incomplete stage: "crown" (interval first, then CROWN) or "interval".
        incomplete: whether there is an incomplete stage.
        attack: effort of PGD, None to skip it.
        timeout: seconds for one instance.
        batch_size: instances in one batch.
        seed: of the attack's random starts.
        double: search in float64 too; verdicts are always decided in float64.
        search_together: open instances that are searched side by side, in common batches.
        search: α-CROWN, and branch and bound, for what the incomplete stage leaves open; None to leave it `unknown`.
        input_split: when branch and bound splits inputs, not neurons; None is never.
        complete_verifier: what follows α-CROWN, see `complete.COMPLETE`.
        mip: the solver of mixed-integer programs.
        test_core: compare every core with its network at random points, not only a network's first one.
    """

    method: str = "crown"
    incomplete: bool = True
    attack: PGDSettings | None = PGDSettings()
    timeout: float = 360.0
    batch_size: int = 64
    seed: int = 100
    double: bool = False
    search_together: int = 1
    search: SearchSettings | None = None
    input_split: InputSplit | None = None
    complete_verifier: str = "bab"
    mip: MipSettings = MipSettings()
    test_core: bool = False


@dataclass(eq=False)
class CoreCheck:
    """Whether a core has been compared with its network, and was that network."""

    passed: bool = False


@dataclass(frozen=True, eq=False)
class Subject:
    """The network under verification.

    Attributes:
        module: the original model; counterexamples are checked on it.
        network: the same function as a graph, in the precision of the search.
        exact: the graph in float64, on which verdicts are decided.
        dtype: of the numbers that `module` takes; counterexamples have it.
        core_check: what is known of its cores.
    """

    module: nn.Module
    network: Network
    exact: Network
    dtype: torch.dtype = torch.float32
    core_check: CoreCheck = field(default_factory=CoreCheck)

    @classmethod
    def prepare(
        cls, module: nn.Module, network: Network, device: str, double: bool, dtype: torch.dtype = torch.float32
    ) -> Subject:
        """Copies on `device` in the precisions needed; `network` had best be in float64."""
        exact = network.to(device, torch.float64)
        return cls(module.to(device).eval(), exact.to(dtype=torch.float64 if double else torch.float32), exact, dtype)


class OutOfTime(Exception):
    """The time of an instance is over."""


@dataclass(frozen=True)
class Decision:
    """A verdict, α,β-CROWN's word for it, and what went wrong if anything did."""

    verdict: Verdict
    status: str
    reason: str | None = None


@dataclass(eq=False)
class Batch:
    """A batch of instances: its constants, and what has been found out so far.

    Attributes:
        cases: of one box each.
        inputs: those that are tried first, `(batch, *shape)`.
        predicted: class of each clean input `(batch,)`; `NO_LABEL` before it is known.
        decisions: by position; an instance without one is open.
        seconds: each instance's share of the time spent.
        lower_bound, margin: by position, see `InstanceResult`.
        counterexamples: by position, `shape`.
    """

    subject: Subject
    settings: VerifySettings
    cases: Sequence[Case]
    decisions: dict[int, Decision] = field(default_factory=dict)
    counterexamples: dict[int, Tensor] = field(default_factory=dict)
    lower_bound: dict[int, float] = field(default_factory=dict)
    margin: dict[int, float] = field(default_factory=dict)
    _bounds: dict[bool, tuple[list[int], str, NetworkBounds]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = self.subject.network.device
        self.inputs = torch.stack([case.start(self.subject.dtype) for case in self.cases]).to(device)
        self.seconds = [case.spent for case in self.cases]
        self._started, self._sharing = 0.0, list[int]()
        self.predicted = torch.full((len(self.cases),), NO_LABEL, device=device)

    @property
    def indices(self) -> list[int]:
        """The cases' numbers."""
        return [case.index for case in self.cases]

    def is_right(self, k: int) -> bool:
        """Whether the predicted class of a clean image is known, and its label."""
        return self.cases[k].label == int(self.predicted[k])

    @cached_property
    def outputs(self) -> Tensor:
        """Of the original model on the clean inputs, `(batch, outputs)`."""
        with torch.no_grad():
            outputs: Tensor = self.subject.module(self.inputs)
        return outputs

    @cached_property
    def specification(self) -> Specification:
        """What is to be proved of each instance, in float64.

        Raises:
            ValueError: of some cases only the nearest clause counts, of others all do.
        """
        made = Specification.cat([part for case in self.cases for part in case.specifications])
        made = made.on(self.inputs.device)
        (nearest,) = {case.nearest for case in self.cases}
        return made.nearest(self.outputs) if nearest else made

    @cached_property
    def approximate(self) -> Specification:
        """The specification in the precision of the search."""
        return self.specification.to(torch.float64 if self.settings.double else torch.float32)

    def open(self) -> list[int]:
        """Positions without a verdict."""
        return [k for k in range(len(self.cases)) if k not in self.decisions]

    def decide(self, position: int, verdict: Verdict, status: str, reason: str | None = None) -> None:
        """Gives an open instance its verdict."""
        if position in self.decisions:
            raise RuntimeError(f"instance {self.cases[position].index} is decided twice")
        self.decisions[position] = Decision(verdict, status, reason)

    def fail(self, position: int, error: BaseException) -> None:
        """Ends an open instance by what went wrong with it."""
        verdict = verdict_of(error)
        self.decide(position, verdict, str(verdict), failure(error))

    def bounds(
        self,
        positions: list[int],
        method: str,
        rigorous: bool = False,
        raise_if_late: Callable[[], None] = lambda: None,
    ) -> NetworkBounds:
        """Bounds over these instances' boxes, taken from the last call where it covers them.

        Args:
            positions: of the instances, in this order.
            method: see `bound_network`.
            raise_if_late: see `bound_network`.
            rigorous: in float64, and true in real arithmetic; otherwise in the precision of the search.
        """
        known = self._bounds.get(rigorous)
        if known is not None and known[1] == method and set(positions) <= set(known[0]):
            return known[2].select(torch.tensor([known[0].index(k) for k in positions]))
        at = torch.tensor(positions)
        if rigorous:
            box = self.specification.box[at]
            with torch.backends.cudnn.flags(enabled=False):
                found = bound_network(self.subject.exact, box, method, rigorous=True, raise_if_late=raise_if_late)
        else:
            found = bound_network(self.subject.network, self.approximate.box[at], method, raise_if_late=raise_if_late)
        self._bounds[rigorous] = (list(positions), method, found)
        return found

    @contextmanager
    def shared_time(self) -> Iterator[list[int]]:
        """Yields the open positions, and shares the time the body takes among them. `OutOfTime` ends the body."""
        positions = self.open()
        self._started, self._sharing = time.perf_counter(), positions
        try:
            yield positions
        except OutOfTime:
            pass
        finally:
            spent = time.perf_counter() - self._started
            for k in positions:
                self.seconds[k] += spent / len(positions)
            self._sharing = []

    def late(self) -> bool:
        """Within `shared_time`: whether the time of some open instance is over."""
        if not self._sharing:
            return False
        share = (time.perf_counter() - self._started) / len(self._sharing)
        return max(self.seconds[k] for k in self._sharing) + share > self.settings.timeout

    def raise_if_late(self) -> None:
        """Raises OutOfTime if it is `late`."""
        if self.late():
            raise OutOfTime

    def result(self, k: int) -> InstanceResult:
        """Of a decided instance."""
        decision = self.decisions[k]
        return self.cases[k].result(
            decision.verdict,
            decision.status,
            self.seconds[k],
            int(self.predicted[k]),
            lower_bound=self.lower_bound.get(k),
            margin=self.margin.get(k),
            reason=decision.reason,
        )
