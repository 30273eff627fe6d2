"""What an export writes: the configured network and the properties of the configured images, loaded and checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from abcrown_graft.assembly import effort, inputs
from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError, DataError
from abcrown_graft.formats.vnnlib.normalize import normalized_box
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.models.load import LoadedModel, prepare
from abcrown_graft.network.graph import Network
from abcrown_graft.nn.normalize import Normalize

_BATCH = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, eq=False)
class Exportable:
    """A network and its properties.

    Attributes:
        name: of the network's file.
        opset: of that file.
        normalized: whether the network takes inputs that are normalised already.
        network: in float64.
        specification: a batch, in the units of the network's input.
        indices: the data set's numbers of the batch.
        left_out: those of the images that violate their property themselves.
        seconds: for one instance.
        property_kind: what is to be proved, in words.
    """

    name: str
    opset: int
    normalized: bool
    model: LoadedModel
    data: ImageData
    network: Network
    specification: Specification
    indices: list[int]
    left_out: list[int]
    seconds: float
    property_kind: str

    @property
    def normalize(self) -> Normalize:
        """What stands in front of the model, or is left to its user."""
        return normalization(self.model)


def prepare_export(config: Config) -> Exportable:
    """Loads and checks everything.

    Raises:
        ConfigError: an option cannot be meant.
        DataError: no image is left; or of loading, see `pipeline.inputs`.
    """
    name, seconds = _name(config), _seconds(config)
    model = inputs.configured_model(config)
    data = inputs.images(config)
    inputs.check_fit(data, model, config)
    specification, indices, left_out = _properties(config, model, data)
    network, normalized = model.exact, config["export.normalization"] == "outside"
    if normalized:
        front = normalization(model)
        box = normalized_box(specification.box, front.mean, front.std)
        specification = Specification(box, specification.rows, specification.offsets)
        network = prepare(model.core, model.input_shape).exact
    opset, kind = config["export.opset"], _property_kind(config)
    return Exportable(name, opset, normalized, model, data, network, specification, indices, left_out, seconds, kind)


def normalization(model: LoadedModel) -> Normalize:
    """The first layer of a loaded model."""
    front = model.module.get_submodule("0")
    assert isinstance(front, Normalize)
    return front


def _properties(config: Config, model: LoadedModel, data: ImageData) -> tuple[Specification, list[int], list[int]]:
    """The properties of the images that do not violate them themselves; the numbers of those, and of the others."""
    chosen = inputs.instance_indices(config, len(data))
    images, labels = data.images[chosen], data.labels[chosen]
    specify = effort.specification(config, data)
    outputs = _outputs(model, images)
    wanted = specify(images, labels, chosen, outputs.shape[1])
    if specify.nearest:
        wanted = wanted.nearest(outputs)
    kept = wanted.margins(outputs.double()) > 0
    if not bool(kept.any()):
        raise DataError(f"all {len(chosen)} images of {data.name} violate their property themselves; choose others")
    holds = dict(zip(chosen, kept.tolist(), strict=True))
    return wanted[kept], [i for i in chosen if holds[i]], [i for i in chosen if not holds[i]]


@torch.no_grad()
def _outputs(model: LoadedModel, images: Tensor) -> Tensor:
    return torch.cat([model.module(part) for part in images.split(_BATCH)])


def _name(config: Config) -> str:
    """`export.name`, or what the configuration is called."""
    chosen = config["export.name"] or (config.file.stem if config.file is not None else config["model.name"])
    if chosen is None or not _NAME.fullmatch(chosen):
        where = f"{config.origin('export.name')}: export.name"
        raise ConfigError(f"{where}: {chosen!r} is not made of letters, digits, '.', '_' and '-'; give --export_name")
    return chosen


def _seconds(config: Config) -> float:
    key = "bab.timeout" if config["bab.override_timeout"] is None else "bab.override_timeout"
    if not 0 < config[key] < math.inf:
        where = f"{config.origin(key)}: {key}"
        raise ConfigError(f"{where}: {config[key]:g}, but a list of instances needs a finite time above 0")
    return config[key]


def _property_kind(config: Config) -> str:
    kind, radius = config["specification.robustness_type"], effort.radius(config)
    if kind == "clean-acc":
        return f"{kind}, the image alone"
    ball = "the data set's bounds" if radius is None else f"l-infinity radius {radius!r} in pixels of [0, 1]"
    return f"{kind}, {ball}"
