"""Checks the counterexamples that α,β-CROWN finds on the original model."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from abcrown_graft.config.config import Config
from abcrown_graft.engines.abcrown.instances import pixels
from abcrown_graft.engines.abcrown.statuses import Outcome, failed
from abcrown_graft.verify.failure import failure
from abcrown_graft.verify.memory import is_out_of_memory
from abcrown_graft.verify.points import fools_alone, inside_box
from abcrown_graft.verify.problem import Batch


def confirmed(config: Config, batch: Batch, k: int, outcome: Outcome, example: Tensor | None) -> Outcome:
    """`falsified` if the original model agrees about the counterexample inside the box, else an error.

    The batch keeps a counterexample that is confirmed.

    Args:
        config: with the normalisation of the pixels.
        batch: of images.
        k: position of the image in the batch.
        outcome: what α,β-CROWN says, which is `falsified`.
        example: its counterexample in normalised pixels, of as many elements as the image.
    """
    if example is None or example.numel() != batch.inputs[k].numel():
        return failed(f"α,β-CROWN says {outcome.status!r} without a counterexample", outcome.seconds)
    values = example.reshape(1, *batch.inputs.shape[1:]).to(batch.inputs.device)
    point = inside_box(batch, [k], pixels(config, values))[0]
    try:
        with torch.no_grad():
            margin = float(batch.specification[k : k + 1].margins(batch.subject.module(point.unsqueeze(0)))[0])
        fooled = fools_alone(batch, k, point)
    except Exception as error:
        reason = f"the counterexample of {outcome.status!r} could not be checked: {failure(error)}"
        return failed(reason, outcome.seconds, is_out_of_memory(error))
    if not fooled:
        said = f"α,β-CROWN says {outcome.status!r}, but its counterexample is none of the original model"
        return failed(f"{said} (smallest margin {margin:.3g})", outcome.seconds)
    batch.counterexamples[k] = point
    batch.margin[k] = min(batch.margin.get(k, math.inf), margin)
    return outcome
