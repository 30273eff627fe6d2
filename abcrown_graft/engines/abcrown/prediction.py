"""The original model's outputs on clean images, also where it fails on some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from abcrown_graft.verdict import NO_LABEL
from abcrown_graft.verify.memory import is_out_of_memory
from abcrown_graft.verify.problem import Batch
from abcrown_graft.verify.stages import clean_prediction


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of images.

    Attributes:
        outputs: `(n, outputs)`, NaN for images that failed; `(n, 0)` if all did.
        failures: what went wrong, by position.
    """

    outputs: Tensor
    failures: Mapping[int, Exception]


def decide_clean(batch: Batch, size: int) -> None:
    """Decides the images that violate their property as they are, and those that the model fails on.

    Args:
        size: images at once.
    """
    with batch.shared_time():
        prediction = predict(batch.subject.module, batch.inputs, size)
        batch.outputs = prediction.outputs
        for k, error in prediction.failures.items():
            batch.fail(k, error)
    if batch.open():
        clean_prediction(batch)
    batch.predicted[list(prediction.failures)] = NO_LABEL


def predict(model: nn.Module, images: Tensor, size: int) -> Prediction:
    """Runs a model on images.

    A part that does not fit into memory is halved until it does. One that fails otherwise is run image by image.

    Args:
        model: from pixels `(batch, *shape)` to `(batch, outputs)`.
        images: `(n, *shape)`.
        size: images at once.
    """
    rows: dict[int, Tensor] = {}
    failures: dict[int, Exception] = {}
    for begin in range(0, len(images), size):
        for k, found in _run(model, images[begin : begin + size], begin):
            if isinstance(found, Exception):
                failures[k] = found
            else:
                rows[k] = found
    some = next(iter(rows.values()), images.new_empty(0))
    nothing = torch.full_like(some, torch.nan)
    outputs = [rows.get(k, nothing) for k in range(len(images))]
    return Prediction(torch.stack(outputs) if outputs else images.new_empty(0, 0), failures)


def _run(model: nn.Module, images: Tensor, first: int) -> Iterator[tuple[int, Tensor | Exception]]:
    """Position and output, or what went wrong, of each image; `first` is the position of the first one."""
    try:
        with torch.no_grad():
            outputs = model(images)
    except Exception as error:
        if len(images) == 1:
            yield first, error
            return
        step = (len(images) + 1) // 2 if is_out_of_memory(error) else 1
    else:
        yield from enumerate(outputs, first)
        return
    if images.is_cuda:
        torch.cuda.empty_cache()
    for begin in range(0, len(images), step):
        yield from _run(model, images[begin : begin + step], first + begin)
