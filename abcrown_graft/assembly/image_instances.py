"""The configured images as instances of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from abcrown_graft.assembly import effort, inputs
from abcrown_graft.assembly.onnx_model import classifier
from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.verify.case import image_cases
from abcrown_graft.verify.problem import Subject
from abcrown_graft.verify.runner import Group


@dataclass(frozen=True, eq=False)
class ImageInstances:
    """Images of a data set, and the network that is to be robust at them; see `Instances`.

    Attributes:
        robustness: what is to be proved of each image.
        indices: of the images, in order.
        device, double: see `Subject.prepare`.
    """

    noun: ClassVar[str] = "image"
    single: ClassVar[bool] = False

    config: Config
    model: LoadedModel
    data: ImageData
    robustness: Robustness
    indices: list[int]
    device: str
    double: bool

    def groups(self, todo: Sequence[int], size: int) -> Iterator[Group]:
        """See `Instances`."""
        subject = Subject.prepare(self.model.module, self.model.exact, self.device, self.double)
        outputs = math.prod(subject.exact.output.shape)
        for begin in range(0, len(todo), size):
            chosen = list(todo[begin : begin + size])
            images, labels = self.data.images[chosen], self.data.labels[chosen]
            yield Group(subject, list(image_cases(images, labels, chosen, self.robustness, outputs)))

    def header(self, **own: Any) -> dict[str, Any]:
        """What makes two runs the same run.

        Args:
            own: what else does, for one engine: its name and settings at least.
        """
        return {
            **own,
            "model": self.config["model.name"] or Path(self.config["model.onnx_path"]).name,
            "architecture": self.model.identity.architecture,
            "weights": self.model.identity.weights,
            "dataset": self.data.name,
            "split": self.data.split,
            "data": self.data.fingerprint,
            "mean": self.config["data.mean"],
            "std": self.config["data.std"],
            "indices": self.indices,
        }


def configured_images(config: Config, device: str) -> ImageInstances:
    """Loads the images and the network, and holds them against each other.

    Raises:
        AbcrownGraftError: one of them cannot be used.
    """
    model = None if config["model.onnx_path"] else inputs.configured_model(config)
    data = inputs.images(config)
    model = model or classifier(config, data)
    inputs.check_fit(data, model, config)
    indices = inputs.instance_indices(config, len(data))
    robustness = effort.specification(config, data)
    return ImageInstances(config, model, data, robustness, indices, device, config["general.double_fp"])
