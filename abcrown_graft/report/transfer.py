"""Whether adversarial examples against one network fool the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from abcrown_graft.errors import FileFormatError
from abcrown_graft.formats.counterexample import counterexample_path, read_counterexample
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.report.transitions import outcome_class
from abcrown_graft.verdict import InstanceResult


@dataclass(frozen=True)
class Transfer:
    """Counterexamples of a source network, tried on a target network.

    Attributes:
        attacked: images that the source classifies correctly and that it has a counterexample for.
        found: of these, counterexamples whose files are there.
        correct: of these, images that the target classifies correctly when clean.
        fooled: of these, counterexamples that the target misclassifies.
    """

    attacked: int
    found: int
    correct: int
    fooled: int

    @property
    def share(self) -> float | None:
        """Fooled / correct, None where there is nothing to divide by."""
        return self.fooled / self.correct if self.correct else None


def attacked_images(results: Mapping[int, InstanceResult]) -> list[int]:
    """The images that a network classifies correctly and that have a counterexample."""
    return [index for index, result in results.items() if outcome_class(result) == "attacked"]


def read_counterexamples(path: Path, indices: list[int], shape: tuple[int, ...]) -> dict[int, Tensor]:
    """The saved counterexamples among `indices`, float32 of `shape`, by index.

    Args:
        path: as in `attack.cex_path`; image 7's file is `<stem>_7<suffix>`.
        indices: images.
        shape: of one image.

    Raises:
        FileFormatError: a file is damaged or of images of another size.
    """
    points = {}
    for index in indices:
        file = counterexample_path(path, index)
        if file.is_file():
            point, _ = read_counterexample(file)
            if point.numel() != torch.Size(shape).numel():
                raise FileFormatError(
                    f"{file}: {point.numel()} values, images have shape {shape}; run 'abcrown-graft run' again"
                )
            points[index] = point.to(torch.float32).view(shape)
    return points


def transfer(
    source: Mapping[int, InstanceResult],
    target: Mapping[int, InstanceResult],
    points: Mapping[int, Tensor],
    model: LoadedModel,
) -> Transfer:
    """Tries the counterexamples against one network on another.

    Args:
        source: results by index of the network that they were found against.
        target: results by index of the other network.
        points: the counterexamples by index, float32, in the shape of one input.
        model: the other network.
    """
    attacked = attacked_images(source)
    found = [index for index in attacked if index in points]
    correct = [index for index in found if target[index].predicted == target[index].label]
    fooled = _fooled([points[index] for index in correct], [target[index].label for index in correct], model)
    return Transfer(len(attacked), len(found), len(correct), fooled)


@torch.no_grad()
def _fooled(points: list[Tensor], labels: list[int], model: LoadedModel) -> int:
    """How many points the model does not put strictly into their class; a NaN is no success of the model."""
    if not points:
        return 0
    outputs = model.module(torch.stack(points))
    truth = torch.tensor(labels)[:, None]
    own = outputs.gather(1, truth)
    others = outputs.scatter(1, truth, -torch.inf).amax(1, keepdim=True)
    return int((~(own > others)).sum())
