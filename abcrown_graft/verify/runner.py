"""The run: cases go to an engine, and what is found out goes to the files, as it comes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from abcrown_graft.formats.results import Results
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.batches import OnCounterexample
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.problem import Subject
from abcrown_graft.verify.recorder import InstabilityRecorder


@dataclass(frozen=True, eq=False)
class Group:
    """Cases of one network and one time limit.

    Attributes:
        subject: the network.
        cases: at least one.
        timeout: seconds for each; what a case has spent already counts. None leaves it to the engine's settings.
    """

    subject: Subject
    cases: Sequence[Case]
    timeout: float | None = None


class Instances(Protocol):
    """What a run is about, before the networks and properties are opened.

    Attributes:
        noun: for messages.
        single: there is one instance by itself, not a list of them.
        indices: their numbers, in order.
    """

    @property
    def noun(self) -> str: ...

    @property
    def single(self) -> bool: ...

    @property
    def indices(self) -> list[int]: ...

    def groups(self, todo: Sequence[int], size: int) -> Iterator[Group | InstanceResult]:
        """The cases of these numbers in order, in groups of at most `size`; of one that cannot be made, its result."""


class Engine(Protocol):
    """Who decides.

    Attributes:
        name: in words.
        group_size: cases that it is given at a time.
    """

    @property
    def name(self) -> str: ...

    @property
    def group_size(self) -> int: ...

    def decide(self, group: Group, on_counterexample: OnCounterexample | None) -> Iterator[InstanceResult]:
        """One result for each case, in order; a counterexample is handed over before its verdict is yielded."""


@dataclass(frozen=True, eq=False)
class Run:
    """A verification that is ready to go.

    Attributes:
        instances: what is verified.
        engine: by whom.
        results: where verdicts go, and those of an earlier part of the run.
        recorder: the instability dump, or None.
        counterexamples: file whose name those of the counterexamples are made of; None if they are not saved.
    """

    instances: Instances
    engine: Engine
    results: Results
    recorder: InstabilityRecorder | None = None
    counterexamples: Path | None = None

    @property
    def indices(self) -> list[int]:
        """The numbers of all instances, in order."""
        return self.instances.indices

    @property
    def todo(self) -> list[int]:
        """Those that an earlier part of the run has not done."""
        return [index for index in self.indices if index not in self.results.done]

    def all_results(self, watch: Callable[[InstanceResult], None]) -> list[InstanceResult]:
        """Runs; the results of all instances in order, those of an earlier part of the run included.

        Args:
            watch: is called with each new result.
        """
        found = {}
        for result in self.run():
            found[result.index] = result
            watch(result)
        found |= self.results.done  # which may have grown since the run was prepared
        return [found[index] for index in self.indices]

    def run(self) -> Iterator[InstanceResult]:
        """Yields the result of each instance that is left to do; each is in the results file by then.

        Raises:
            AbcrownGraftError: the files of a single instance cannot be used, or the engine cannot be.
            OutputError: a file cannot be written.
        """
        with self.results.in_use():
            with closing(self.decided()) as found:
                for result in found:
                    self.results.append(result)
                    yield result
            if self.recorder is not None and not self.recorder.dump.n:
                self.recorder.dump.save(self.recorder.path)  # that no image counts is a finding too
            self.results.complete()

    def decided(self) -> Generator[InstanceResult, None, None]:
        """The results of `run`, not written yet; counterexamples are."""
        for group in self.instances.groups(self.todo, self.engine.group_size):
            if isinstance(group, InstanceResult):
                yield group
            else:
                yield from self.engine.decide(group, self._saver(group.subject))

    def _saver(self, subject: Subject) -> OnCounterexample | None:
        """Saves counterexamples of a network with what its original model makes of them."""
        path = self.counterexamples
        if path is None:
            return None

        def save(index: int, point: Tensor) -> None:
            self.results.save_counterexample(path, index, point, original_output(subject, point))

        return save


def original_output(subject: Subject, point: Tensor) -> Tensor:
    """Of the original model at one input, `(outputs,)` in the precision of the input."""
    with torch.no_grad():
        return subject.module(point.unsqueeze(0))[0].to(point.dtype)
