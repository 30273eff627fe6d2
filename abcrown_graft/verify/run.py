"""Runs the cascade over many images, in batches, whatever goes wrong with some of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abcrown_graft.errors import OutputError
from abcrown_graft.geometry.specification import Specify
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.complete import decide_open, failure
from abcrown_graft.verify.memory import is_out_of_memory
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings
from abcrown_graft.verify.stages import Recorder, cascade

log = logging.getLogger(__name__)

OnCounterexample = Callable[[int, Tensor], None]


def verify_images(
    subject: Subject,
    images: Tensor,
    labels: Tensor,
    indices: Sequence[int],
    settings: VerifySettings,
    recorder: Recorder | None = None,
    on_counterexample: OnCounterexample | None = None,
    specify: Specify | None = None,
    spent: Sequence[float] | None = None,
) -> Iterator[InstanceResult]:
    """Verdicts as they come: a batch goes through the cascade, then the open images are searched in their order.

    Args:
        subject: the network; its device is where the work is done.
        images, labels: `(n, *shape)` pixels in [0, 1], and classes `(n,)`.
        indices: the data set's number of each image.
        settings: what to prove and how hard to try.
        recorder: sees each batch, see `stages.Recorder`.
        on_counterexample: called with index and counterexample before its verdict is yielded.
        specify: what is to be proved of each image; by default what `settings` say.
        spent: seconds of each image's time that are gone already.

    A batch that does not fit into memory is halved until it does; a single image that does not is
    `out-of-memory`. A batch that fails otherwise is run again image by image, and the image that
    fails alone is `error`.

    Raises:
        OutputError: the recorder's file cannot be written.
    """
    device = subject.network.device
    spent = [0.0] * len(images) if spent is None else spent
    for begin in range(0, len(images), settings.batch_size):
        at = slice(begin, begin + settings.batch_size)
        part = _Part(images[at].to(device), labels[at].to(device), list(indices[at]), specify, spent[at])
        yield from _run(subject, part, settings, recorder, on_counterexample)


@dataclass(frozen=True, eq=False)
class _Part:
    """Images that go through the cascade together; `spent` are the seconds of attempts that failed."""

    images: Tensor
    labels: Tensor
    indices: Sequence[int]
    specify: Specify | None
    spent: Sequence[float]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: slice) -> _Part:
        return _Part(self.images[at], self.labels[at], self.indices[at], self.specify, self.spent[at])


def _run(
    subject: Subject,
    part: _Part,
    settings: VerifySettings,
    recorder: Recorder | None,
    on_counterexample: OnCounterexample | None,
) -> Iterator[InstanceResult]:
    batch = Batch(subject, settings, part.images, part.labels, part.indices, part.specify)
    batch.seconds = list(part.spent)
    try:
        for stage in cascade(settings, recorder):
            stage(batch)
    except OutputError:
        raise
    except Exception as error:
        out_of_memory = is_out_of_memory(error)
        if len(part) == 1:
            log.debug("instance %d failed", part.indices[0], exc_info=True)
            verdict = Verdict.OUT_OF_MEMORY if out_of_memory else Verdict.ERROR
            yield _failed(batch, verdict, error)
            return
        step = (len(part) + 1) // 2 if out_of_memory else 1
    else:
        yield from _decided(batch, on_counterexample)
        return
    part = replace(part, spent=batch.seconds)
    del batch
    if part.images.is_cuda:
        torch.cuda.empty_cache()
    for begin in range(0, len(part), step):
        yield from _run(subject, part[begin : begin + step], settings, recorder, on_counterexample)


def _decided(batch: Batch, on_counterexample: OnCounterexample | None) -> Iterator[InstanceResult]:
    """The results of a batch that has been through the cascade; what it left open is decided when its turn comes."""
    given: set[int] = set()
    for k in range(len(batch.images)):
        if k in given:
            continue
        together = batch.open()[: batch.settings.search_together]
        for ready in [k] if k in batch.decisions else decide_open(batch, together):
            given.add(ready)
            if on_counterexample is not None and ready in batch.counterexamples:
                on_counterexample(int(batch.indices[ready]), batch.counterexamples[ready])
            yield batch.result(ready)


def _failed(batch: Batch, verdict: Verdict, error: Exception) -> InstanceResult:
    return InstanceResult(
        int(batch.indices[0]),
        int(batch.labels[0]),
        int(batch.predicted[0]),
        verdict,
        str(verdict),
        batch.seconds[0],
        reason=failure(error),
    )
