"""What a stage works on, made from a configuration: model, images, settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from abcrown_graft.assembly.artifacts import is_artifact
from abcrown_graft.assembly.baseline import is_baseline
from abcrown_graft.assembly.options import DataOptions, GeneralOptions, GraftOptions, ModelOptions
from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData, load_dataset
from abcrown_graft.errors import ConfigError, DataError, FileFormatError, UnsupportedError
from abcrown_graft.files import Limit, read_text
from abcrown_graft.models.load import LoadedModel, ModelSource, load_model


def model_source(config: Config) -> ModelSource:
    """Where the configured model comes from; whether its weights come from anywhere is not checked.

    Raises:
        ConfigError: `model.name` is not set, or an ONNX file is named in its place.
    """
    if config.settings(ModelOptions).onnx_path:
        where = f"{config.origin('model.onnx_path')}: model.onnx_path"
        raise ConfigError(f"{where}: only verification takes an ONNX file; name a model definition in model.name")
    pixels, lines = config.settings(DataOptions), config.settings(GraftOptions)
    return ModelSource(
        name=require(config, "model.name", "name a model definition, e.g. cnn_b"),
        path=config.path("model.path"),
        input_shape=_input_shape(config),
        mean=pixels.mean,
        std=pixels.std,
        checkpoint=config.path("graft.checkpoint"),
        mask=config.path("graft.mask"),
        slope=lines.slope,
        intercept=lines.intercept,
        folders=folders(config),
        hint=_hint(config),
        plain=is_baseline(config),
    )


def configured_model(config: Config) -> LoadedModel:
    """The model of `model.*` and `graft.*`, ready to be bounded.

    Raises:
        ConfigError: `model.name` is not set, or nothing gives it weights.
    """
    source = model_source(config)
    if source.path is None and source.checkpoint is None and not source.name.lstrip().startswith("Customized"):
        advice = "give a checkpoint with --load_model, or a grafted one with --graft_checkpoint"
        raise ConfigError(f"model.path: not set, so {source.name} would have random weights; {advice}")
    return load_model(source)


def untrained_model(config: Config) -> LoadedModel:
    """The plain network of `model.name` with the weights that its definition starts from."""
    return load_model(replace(model_source(config), path=None, checkpoint=None, mask=None))


def _input_shape(config: Config) -> tuple[int, ...] | None:
    """`model.input_shape` without the batch, which α,β-CROWN writes as a leading -1 (or 1)."""
    shape = config.settings(ModelOptions).input_shape
    if shape is None:
        return None
    if len(shape) < 2 or shape[0] not in (-1, 1) or any(size < 1 for size in shape[1:]):
        raise ConfigError(f"{config.origin('model.input_shape')}: model.input_shape: {list(shape)} is not [-1, ...]")
    return tuple(shape[1:])


def _hint(config: Config) -> str | None:
    """Which command makes the checkpoint, if the same configuration says how."""
    if config.file is None:
        return None
    if config.settings(GraftOptions).checkpoint:
        made = is_artifact(config, "graft.checkpoint", "tune.checkpoint")
        return f"make it with: abcrown-graft run {config.file}" if made else None
    made = is_artifact(config, "model.path", "train.checkpoint")
    return f"make it with: abcrown-graft train --config {config.file}" if made else None


def folders(config: Config) -> tuple[Path, ...]:
    """Where `Customized("file.py", ...)` looks for its file."""
    beside = (config.file.absolute().parent,) if config.file is not None else ()
    root = config.path("general.root_path", must_exist=False)
    return (*beside, *((root,) if root is not None else ()), Path.cwd())


def images(config: Config, split: str | None = None) -> ImageData:
    """The configured data set, whole; `split` overrides `data.split`.

    Raises:
        ConfigError: none is configured, or properties are instead, which have no images.
        DataError, FileFormatError: it cannot be read.
    """
    for key in ("general.csv_name", "specification.vnnlib_path"):
        if config[key]:
            raise ConfigError(f"{config.origin(key)}: {key}: this command works on images; remove it")
    name = require(config, "data.dataset", "name a data set, e.g. DIGITS, MNIST or CIFAR")
    chosen = split or config.settings(DataOptions).split
    return load_dataset(name, chosen, config.path("data.data_dir"), folders(config))


def check_fit(data: ImageData, model: LoadedModel, config: Config) -> None:
    """Raises DataError unless the images are what the model takes and it has an output for each class."""
    shape = tuple(data.images.shape[1:])
    if shape != model.input_shape:
        raise DataError(f"data.dataset: {data.name} has images of shape {shape}, the model takes {model.input_shape}")
    outputs = model.network.output.shape
    if len(outputs) != 1 or outputs[0] < 2:
        raise DataError(f"the model's output has shape {outputs}, expected one score per class")
    wanted = config.settings(DataOptions).num_outputs
    if outputs[0] != wanted:
        where = f"{config.origin('data.num_outputs')}: data.num_outputs"
        raise ConfigError(f"{where}: {wanted}, the model has {outputs[0]} outputs")
    if int(data.labels.max()) >= outputs[0]:
        raise DataError(f"data.dataset: {data.name} has label {int(data.labels.max())}, the model {outputs[0]} outputs")


def instance_indices(config: Config, total: int, noun: str = "image", whole: str = "the split") -> list[int]:
    """The images (or what `noun` says) to verify, from `select_instance`, `data_idx_file` or `start` and `end`.

    Raises:
        ConfigError: none is left, or one does not exist.
    """
    data = config.settings(DataOptions)
    chosen: Sequence[int] | None = data.select_instance
    where = f"{config.origin('data.select_instance')}: data.select_instance"
    if not chosen and (path := config.path("data.data_idx_file")) is not None:
        where, chosen = f"data.data_idx_file: {path}", _read_indices(path)
    if chosen:
        outside = [index for index in chosen if not 0 <= index < total]
        if outside:
            raise ConfigError(f"{where}: {noun} {outside[0]} does not exist; {whole} has {total}")
        return list(dict.fromkeys(chosen))
    start, end = data.start, min(data.end, total)
    if start >= end:
        raise ConfigError(
            f"data.start {start} ({config.origin('data.start')}) and data.end {data.end} "
            f"({config.origin('data.end')}) leave no {noun}; {whole} has {total}"
        )
    return list(range(start, end))


def _read_indices(path: Path) -> list[int]:
    limit = Limit(2**26, "which no list of image numbers is")
    try:
        indices = [int(word) for word in read_text(path, limit).split()]
    except (FileFormatError, ValueError) as error:
        raise ConfigError(f"data.data_idx_file: {path}: not a text file of image numbers ({error})") from None
    if not indices:
        raise ConfigError(f"data.data_idx_file: {path}: names no image")
    return indices


def epsilon(config: Config) -> float:
    """`specification.epsilon`, the radius of an ℓ∞ ball; it has no default.

    Raises:
        ConfigError: it is not set.
        UnsupportedError: the configuration speaks of another kind of perturbation.
    """
    for key, value in (("specification.norm", math.inf), ("specification.type", "lp")):
        if config[key] != value:
            where = f"{config.origin(key)}: {key}"
            raise UnsupportedError(f"{where}: {config[key]} is not implemented here; only ℓ∞ balls are (norm: .inf)")
    return require(config, "specification.epsilon", "give the radius in pixels of [0, 1], e.g. 0.00784313725")


def require(config: Config, key: str, advice: str) -> Any:
    """The value of an option that a stage cannot do without."""
    if config[key] is None:
        place = f"{config.file}: " if config.file is not None else ""
        raise ConfigError(f"{place}{key}: not set; {advice}")
    return config[key]


def device(config: Config) -> str:
    """`general.device`, checked to be there.

    Raises:
        ConfigError: CUDA was asked for (it is the default) and is not available.
    """
    chosen = config.settings(GeneralOptions).device
    if chosen == "cuda" and not torch.cuda.is_available():
        where = f"{config.origin('general.device')}: general.device"
        raise ConfigError(f"{where}: cuda is not available here (torch {torch.__version__}); use --device cpu")
    return chosen
