"""Which instances of ONNX and VNN-LIB files a configuration asks for, before any of them is opened."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from abcrown_graft.config.config import DEFAULT, Config
from abcrown_graft.errors import ConfigError, FileFormatError
from abcrown_graft.formats.vnnlib.instances import Line, read_lines
from abcrown_graft.formats.vnnlib.read import existing

LIST, PROPERTY = "general.csv_name", "specification.vnnlib_path"
NETWORK = ("model.name", "model.onnx_path")
GRAFTS = ("graft.mask", "graft.checkpoint")
# They say what is to be proved of images, or what becomes of these: VNN-LIB says it of the network's own input.
OF_IMAGES = (
    *("data.dataset", "data.mean", "data.std", "specification.type", "specification.robustness_type"),
    *("specification.norm", "specification.epsilon", "instability.dump"),
)


@dataclass(frozen=True)
class Row:
    """An instance: a line of the list, or the single one.

    Attributes:
        index: number of the line among those that are not blank, from 0.
        onnx: the network; None for the configured model.
        vnnlib: the property. The file may be missing, as that of `onnx` may.
        timeout: seconds.
    """

    index: int
    onnx: Path | None
    vnnlib: Path
    timeout: float


def asks_for_properties(config: Config) -> bool:
    """Whether VNN-LIB files say what is verified, not images."""
    return is_single(config) or bool(config[LIST])


def is_single(config: Config) -> bool:
    """Whether one VNN-LIB file does; then a list has no effect, as in α,β-CROWN."""
    return bool(config[PROPERTY])


def configured_rows(config: Config) -> list[Row]:
    """All instances; of a list also those that are not chosen.

    Raises:
        ConfigError: no network, or an option that has no meaning for VNN-LIB.
        FileFormatError: the list is missing, or a line is not one of a list.
    """
    _refuse_options_of_images(config)
    if is_single(config):
        _require_one_network(config, f"{PROPERTY} is set")
        return [Row(0, _network(config), _property(config), _timeout(config, None))]
    path = config.path(LIST)
    assert path is not None
    lines = read_lines(path)
    if lines[0].onnx is None:
        _require_one_network(config, f"{path} names none")
    else:
        _refuse_networks(config, path)
    places = (_folder(config), path.parent, Path())
    return [_row(config, index, line, places) for index, line in enumerate(lines)]


def _refuse_options_of_images(config: Config) -> None:
    for key in OF_IMAGES:
        if not config.is_default(key):
            what = PROPERTY if is_single(config) else LIST
            raise ConfigError(
                f"{config.origin(key)}: {key}: has no meaning where {what} is set: VNN-LIB files say all about the "
                "network's own input; remove it"
            )


def _require_one_network(config: Config, why: str) -> None:
    chosen = [key for key in NETWORK if config[key]]
    if not chosen:
        raise ConfigError(f"model.onnx_path: not set, but {why}; name the network with --onnx_path FILE")
    refuse_two_networks(config)


def refuse_two_networks(config: Config) -> None:
    """Raises ConfigError if an ONNX file is named and a model definition, weights or a graft besides."""
    others = ("model.name", "model.path", *GRAFTS)
    besides = next((key for key in others if config["model.onnx_path"] and config[key]), None)
    if besides is not None:
        raise ConfigError(
            f"{config.origin(besides)}: {besides}: the network is the ONNX file of model.onnx_path "
            f"({config.origin('model.onnx_path')}), which is whole; remove one of the two"
        )


def _refuse_networks(config: Config, path: Path) -> None:
    for key in (*NETWORK, "model.path", *GRAFTS):
        if config[key]:
            raise ConfigError(f"{config.origin(key)}: {key}: the lines of {path} name their networks; remove it")


def _network(config: Config) -> Path | None:
    return onnx_path(config, config["model.onnx_path_prefix"]) if config["model.onnx_path"] else None


def onnx_path(config: Config, prefix: str = "") -> Path:
    """`model.onnx_path` behind a prefix: from `general.root_path`, here, or beside the configuration file."""
    return _found(config, "model.onnx_path", prefix)


def _property(config: Config) -> Path:
    return _found(config, PROPERTY, config["specification.vnnlib_path_prefix"])


def _found(config: Config, key: str, prefix: str) -> Path:
    """The first of the places where the file is, otherwise the first place."""
    named = config.replace({key: os.path.join(prefix, config[key])}, config.origin(key))
    elsewhere = named.replace({"general.root_path": ""})
    places = (named.path(key, must_exist=False), elsewhere.path(key, must_exist=False), elsewhere.path(key))
    return _first([place for place in places if place is not None])


def _row(config: Config, index: int, line: Line, places: Sequence[Path]) -> Row:
    onnx = None
    if line.onnx is not None:
        onnx = _first([place / os.path.join(config["model.onnx_path_prefix"], line.onnx) for place in places])
    elif config["model.onnx_path"]:
        onnx = onnx_path(config)
    name = os.path.join(config["specification.vnnlib_path_prefix"], line.vnnlib)
    return Row(index, onnx, _first([place / name for place in places]), _timeout(config, line.timeout))


def _folder(config: Config) -> Path:
    return config.path("general.root_path", must_exist=False) or Path()


def _first(candidates: Sequence[Path]) -> Path:
    for candidate in candidates:
        try:
            return existing(candidate)
        except (FileFormatError, OSError, ValueError):
            continue
    return candidates[0]


def _timeout(config: Config, written: float | None) -> float:
    """`bab.override_timeout`, what the line says, or `bab.timeout`."""
    override = config["bab.override_timeout"]
    if override is not None:
        return override
    return config["bab.timeout"] if written is None else written


def check_network(config: Config, name: str, inputs: int, outputs: int) -> None:
    """Raises ConfigError if `model.input_shape` or `data.num_outputs` is set to what the network does not have."""
    shape, where = config["model.input_shape"], f"{config.origin('model.input_shape')}: model.input_shape"
    if shape is not None and (len(shape) < 2 or shape[0] not in (-1, 1) or math.prod(shape[1:]) != inputs):
        raise ConfigError(f"{where}: {list(shape)} are not the {inputs} inputs of {name}, [-1, ...]; remove it")
    where = f"{config.origin('data.num_outputs')}: data.num_outputs"
    if config.origin("data.num_outputs") != DEFAULT and config["data.num_outputs"] != outputs:
        raise ConfigError(f"{where}: {config['data.num_outputs']}, but {name} has {outputs} outputs; remove it")
