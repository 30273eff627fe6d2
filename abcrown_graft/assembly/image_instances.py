"""The configured images as instances of a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from abcrown_graft.assembly import effort, inputs
from abcrown_graft.assembly.onnx_model import classifier
from abcrown_graft.assembly.options import DataOptions, GeneralOptions, ModelOptions
from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.models.load import LoadedModel, check_images
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.case import Case, image_cases
from abcrown_graft.verify.failure import failed
from abcrown_graft.verify.problem import Subject
from abcrown_graft.verify.runner import Group

log = logging.getLogger(__name__)


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

    def groups(self, todo: Sequence[int], size: int) -> Iterator[Group | InstanceResult]:
        """See `Instances`; an image of which nothing can be proved, for its target is its label, is `error`."""
        subject = Subject.prepare(self.model.module, self.model.exact, self.device, self.double)
        for begin in range(0, len(todo), size):
            made = [self._case(index) for index in todo[begin : begin + size]]
            yield from (case for case in made if isinstance(case, InstanceResult))
            cases = [case for case in made if isinstance(case, Case)]
            if cases:
                yield Group(subject, cases)

    def _case(self, index: int) -> Case | InstanceResult:
        image, label = self.data.images[index : index + 1], self.data.labels[index : index + 1]
        outputs = math.prod(self.model.exact.output.shape)
        try:
            (case,) = image_cases(image, label, [index], self.robustness, outputs)
        except Exception as error:
            log.debug("image %d failed", index, exc_info=True)
            return failed(error, index, label=int(label))
        return case

    def header(self, **own: Any) -> dict[str, Any]:
        """What makes two runs the same run.

        Args:
            own: what else does, for one engine: its name and settings at least.
        """
        model, pixels = self.config.settings(ModelOptions), self.config.settings(DataOptions)
        return {
            **own,
            "model": model.name or Path(str(model.onnx_path)).name,
            "architecture": self.model.identity.architecture,
            "weights": self.model.identity.weights,
            "dataset": self.data.name,
            "split": self.data.split,
            "data": self.data.fingerprint,
            "mean": pixels.mean,
            "std": pixels.std,
            "indices": self.indices,
        }


def configured_images(config: Config, device: str) -> ImageInstances:
    """Loads the images and the network, and holds them against each other.

    Raises:
        AbcrownGraftError: one of them cannot be used.
    """
    module = None if config.settings(ModelOptions).onnx_path else inputs.configured_model(config)
    data = inputs.images(config)
    model = module or classifier(config, data)
    inputs.check_fit(data, model, config)
    indices = inputs.instance_indices(config, len(data))
    if module is not None:
        check_images(module, data.images[indices])
    robustness = effort.specification(config, data)
    double = config.settings(GeneralOptions).double_fp
    return ImageInstances(config, model, data, robustness, indices, device, double)
