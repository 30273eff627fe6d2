"""The instances of a batch in the form in which α,β-CROWN takes them: normalised pixels, a box for each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from abcrown_graft.assembly.options import DataOptions
from abcrown_graft.config.config import Config
from abcrown_graft.nn.normalize import Normalize
from abcrown_graft.verify.problem import Batch


def instance_tensors(config: Config, batch: Batch) -> dict[str, Tensor]:
    """See `job.write_job`; the rows are the positions of the batch.

    The normalised boxes are rounded outwards to float32, in which α,β-CROWN keeps them: they hold the exact ones.
    """
    box, labels = batch.specification.box, batch.labels
    tensors = {
        "images": normalised(config, batch.images.double()).float(),
        "lower": rounded(normalised(config, box.lower), -math.inf),
        "upper": rounded(normalised(config, box.upper), math.inf),
        "labels": labels,
        "runnerup": batch.outputs.scatter(1, labels.unsqueeze(1), -math.inf).argmax(1),
        "outputs": batch.outputs,
    }
    targets = getattr(batch.specify, "targets", None)
    return tensors if targets is None else tensors | {"targets": targets[torch.as_tensor(list(batch.indices))]}


def normalised(config: Config, pixels: Tensor) -> Tensor:
    """`(pixels - mean) / std` in float64, `(batch, *shape)`."""
    mean, std = _normalization(config, pixels)
    return (pixels.double() - mean) / std


def pixels(config: Config, values: Tensor) -> Tensor:
    """The inverse of `normalised`."""
    mean, std = _normalization(config, values)
    return values.double() * std + mean


def rounded(values: Tensor, towards: float) -> Tensor:
    """The nearest float32 that is not on the wrong side of `values`."""
    near = values.float()
    wrong = near.double() > values if towards < 0 else near.double() < values
    return torch.where(wrong, torch.nextafter(near, torch.full_like(near, towards)), near)


def _normalization(config: Config, images: Tensor) -> tuple[Tensor, Tensor]:
    pixels = config.settings(DataOptions)
    layer = Normalize(pixels.mean, pixels.std, images.shape[1])
    return layer.mean.double().to(images.device), layer.std.double().to(images.device)
