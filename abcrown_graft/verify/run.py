"""Runs the cascade over many images, in batches, whatever goes wrong with some of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abcrown_graft.verify.problem import Batch, Subject, VerifySettings
from abcrown_graft.verify.stages import Recorder, cascade
from abcrown_graft.verify.verdict import InstanceResult, Verdict

log = logging.getLogger(__name__)

OnCounterexample = Callable[[int, Tensor], None]

# torch raises a plain RuntimeError where the CPU's allocator or cuBLAS finds no memory.
OUT_OF_MEMORY_WORDS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")


def verify_images(
    subject: Subject,
    images: Tensor,
    labels: Tensor,
    indices: Sequence[int],
    settings: VerifySettings,
    recorder: Recorder | None = None,
    on_counterexample: OnCounterexample | None = None,
) -> Iterator[InstanceResult]:
    """Verdicts in the order of the images, as batches finish.

    Args:
        subject: the network; its device is where the work is done.
        images, labels: `(n, *shape)` pixels in [0, 1], and classes `(n,)`.
        indices: the data set's number of each image.
        settings: what to prove and how hard to try.
        recorder: sees each batch, see `stages.Recorder`.
        on_counterexample: called with index and counterexample before its verdict is yielded.

    A batch that does not fit into memory is halved until it does; a single image that does not is
    `out-of-memory`. A batch that fails otherwise is run again image by image, and the image that
    fails alone is `error`.
    """
    device = subject.network.device
    for begin in range(0, len(images), settings.batch_size):
        at = slice(begin, begin + settings.batch_size)
        chosen = list(indices[at])
        part = _Part(images[at].to(device), labels[at].to(device), chosen, [0.0] * len(chosen))
        yield from _run(subject, part, settings, recorder, on_counterexample)


@dataclass(frozen=True, eq=False)
class _Part:
    """Images that go through the cascade together; `spent` are the seconds of attempts that failed."""

    images: Tensor
    labels: Tensor
    indices: Sequence[int]
    spent: Sequence[float]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: slice) -> _Part:
        return _Part(self.images[at], self.labels[at], self.indices[at], self.spent[at])


def _run(
    subject: Subject,
    part: _Part,
    settings: VerifySettings,
    recorder: Recorder | None,
    on_counterexample: OnCounterexample | None,
) -> Iterator[InstanceResult]:
    batch = Batch(subject, settings, part.images, part.labels, part.indices)
    batch.seconds = list(part.spent)
    try:
        for stage in cascade(settings, recorder):
            stage(batch)
    except Exception as error:
        out_of_memory = is_out_of_memory(error)
        if len(part) == 1:
            log.debug("instance %d failed", part.indices[0], exc_info=True)
            verdict = Verdict.OUT_OF_MEMORY if out_of_memory else Verdict.ERROR
            yield _failed(batch, verdict, error)
            return
        step = (len(part) + 1) // 2 if out_of_memory else 1
    else:
        if on_counterexample is not None:
            for k, point in sorted(batch.counterexamples.items()):
                on_counterexample(int(part.indices[k]), point)
        yield from batch.results()
        return
    part = replace(part, spent=batch.seconds)
    del batch
    if part.images.is_cuda:
        torch.cuda.empty_cache()
    for begin in range(0, len(part), step):
        yield from _run(subject, part[begin : begin + step], settings, recorder, on_counterexample)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the GPU or the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY_WORDS)


def _failed(batch: Batch, verdict: Verdict, error: Exception) -> InstanceResult:
    reason = f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
    return InstanceResult(
        int(batch.indices[0]),
        int(batch.labels[0]),
        int(batch.predicted[0]),
        verdict,
        str(verdict),
        batch.seconds[0],
        reason=reason,
    )
