"""The instances of a batch in the form in which α,β-CROWN takes them: normalised pixels, a box for each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from abcrown_graft.assembly.options import DataOptions
from abcrown_graft.config.config import Config
from abcrown_graft.formats.vnnlib.normalize import normalized_box
from abcrown_graft.nn.normalize import Normalize
from abcrown_graft.verify.options import SpecificationOptions
from abcrown_graft.verify.problem import Batch


def instance_tensors(config: Config, batch: Batch) -> dict[str, Tensor]:
    """See `job.write_job`; the rows are the positions of the batch.

    The normalised boxes are exact quotients, rounded outwards to float32, in which α,β-CROWN keeps them: they hold the
    exact ones. What is rounded to nearest are the images, where its attacks start.
    """
    labels = torch.tensor([case.label for case in batch.cases], device=batch.inputs.device)
    box = normalized_box(batch.specification.box, *_normalization(config, batch.inputs)).to(dtype=torch.float32)
    tensors = {
        "images": normalised(config, batch.inputs).float(),
        "lower": box.lower,
        "upper": box.upper,
        "labels": labels,
        "runnerup": batch.outputs.scatter(1, labels.unsqueeze(1), -math.inf).argmax(1),
        "outputs": batch.outputs,
    }
    if config.settings(SpecificationOptions).robustness_type != "specify-target":
        return tensors
    # The only clause of such an image is the lead of its label over the target.
    return tensors | {"targets": batch.specification.rows[:, 0, 0].argmin(1)}


def normalised(config: Config, pixels: Tensor) -> Tensor:
    """About `(pixels - mean) / std` in float64, `(batch, *shape)`."""
    mean, std = _normalization(config, pixels)
    return (pixels.double() - mean) / std


def pixels(config: Config, values: Tensor) -> Tensor:
    """About the inverse of `normalised`."""
    mean, std = _normalization(config, values)
    return values.double() * std + mean


def _normalization(config: Config, images: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of the model's first layer."""
    pixels = config.settings(DataOptions)
    layer = Normalize(pixels.mean, pixels.std, images.shape[1])
    return layer.mean.double().to(images.device), layer.std.double().to(images.device)
