"""Runs the cascade over cases of one box each, in batches, whatever goes wrong with some of them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from abcrown_graft.errors import OutputError
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.complete import decide_open
from abcrown_graft.verify.failure import failed
from abcrown_graft.verify.memory import is_out_of_memory
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings
from abcrown_graft.verify.stages import Recorder, cascade

log = logging.getLogger(__name__)

OnCounterexample = Callable[[int, Tensor], None]
"""Receives the number of a case and its counterexample `shape`, in the precision of the original model."""


def verify_boxes(
    subject: Subject,
    cases: Iterable[Case],
    settings: VerifySettings,
    recorder: Recorder | None = None,
    on_counterexample: OnCounterexample | None = None,
) -> Iterator[InstanceResult]:
    """Verdicts as they come: a batch goes through the cascade, then its open cases are searched in their order.

    Args:
        subject: the network; its device is where the work is done.
        cases: of one box each; they are asked for batch by batch. Their judges are not heard.
        settings: how hard to try.
        recorder: sees each batch, see `stages.Recorder`.
        on_counterexample: called before the verdict is yielded.

    A batch that does not fit into memory is halved until it does; a single case that does not is
    `out-of-memory`. A batch that fails otherwise is run again case by case, and the case that
    fails alone is `error`.

    Raises:
        OutputError: the recorder's file cannot be written.
    """
    cases = iter(cases)
    while batch := list(itertools.islice(cases, settings.batch_size)):
        yield from _run(subject, batch, settings, recorder, on_counterexample)


def _run(
    subject: Subject,
    cases: Sequence[Case],
    settings: VerifySettings,
    recorder: Recorder | None,
    on_counterexample: OnCounterexample | None,
) -> Iterator[InstanceResult]:
    batch = Batch(subject, settings, cases)
    try:
        for stage in cascade(settings, recorder):
            stage(batch)
    except OutputError:
        raise
    except Exception as error:
        if len(cases) == 1:
            log.debug("instance %d failed", cases[0].index, exc_info=True)
            yield _failed(batch, error)
            return
        step = (len(cases) + 1) // 2 if is_out_of_memory(error) else 1
    else:
        yield from _decided(batch, on_counterexample)
        return
    cases = [replace(case, spent=spent) for case, spent in zip(cases, batch.seconds, strict=True)]
    on_gpu = batch.inputs.is_cuda
    del batch
    if on_gpu:
        torch.cuda.empty_cache()
    for begin in range(0, len(cases), step):
        yield from _run(subject, cases[begin : begin + step], settings, recorder, on_counterexample)


def _decided(batch: Batch, on_counterexample: OnCounterexample | None) -> Iterator[InstanceResult]:
    """The results of a batch that has been through the cascade; what it left open is decided when its turn comes."""
    given: set[int] = set()
    for k in range(len(batch.cases)):
        if k in given:
            continue
        together = batch.open()[: batch.settings.search_together]
        for ready in [k] if k in batch.decisions else decide_open(batch, together):
            given.add(ready)
            if on_counterexample is not None and ready in batch.counterexamples:
                on_counterexample(batch.cases[ready].index, batch.counterexamples[ready])
            yield batch.result(ready)


def _failed(batch: Batch, error: Exception) -> InstanceResult:
    """The result of a batch of one that failed."""
    (case,), (seconds,), (predicted,) = batch.cases, batch.seconds, batch.predicted.tolist()
    return failed(error, case.index, seconds, label=case.label, predicted=predicted)
