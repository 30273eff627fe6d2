"""Whether images, labels and model fit together, asked once before any long work."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abcrown_graft.errors import DataError, ModelError
from abcrown_graft.training.modes import device_of, evaluating


def check_data(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Runs the model on the first image and compares.

    Args:
        model: maps `(batch, *shape)` to logits `(batch, classes)`.
        images: `(n, *shape)`, floating point, pixels in [0, 1].
        labels: `(n,)`, int64, in [0, classes).

    Raises:
        DataError: there are no images, counts or types differ, pixels or labels are out of range, or the
            model does not take images of this shape.
        ModelError: the logits are not finite or not of shape `(batch, classes)`.
    """
    if len(images) == 0:
        raise DataError("the data set has no images")
    if labels.ndim != 1 or len(labels) != len(images):
        raise DataError(f"{len(images)} images but labels of shape {tuple(labels.shape)}; give one label per image")
    if not images.is_floating_point() or labels.dtype != torch.int64:
        raise DataError(f"images must be floating point and labels int64, not {images.dtype} and {labels.dtype}")
    low, high = (value.item() for value in images.aminmax())
    if not 0.0 <= low <= high <= 1.0:
        raise DataError(f"pixels lie in [{low:g}, {high:g}], expected [0, 1]; scale the images first")
    classes = _count_classes(model, images[:1])
    wrong = ((labels < 0) | (labels >= classes)).nonzero().flatten()
    if len(wrong):
        where = int(wrong[0])
        raise DataError(f"label {int(labels[where])} of image {where} is out of range: the model has {classes} classes")


def _count_classes(model: nn.Module, image: Tensor) -> int:
    """The number of logits that the model gives for one image `(1, *shape)`."""
    try:
        with evaluating(model), torch.no_grad():
            logits = model(image.to(device_of(model)))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"the model does not take images of shape {tuple(image.shape[1:])}: {reason}") from error
    if logits.ndim != 2 or len(logits) != 1:
        raise ModelError(f"the model gives {tuple(logits.shape)} for one image, expected (1, classes)")
    if not torch.isfinite(logits).all():
        raise ModelError("the model gives NaN or infinite logits for the first image; its weights are damaged")
    return logits.shape[1]
