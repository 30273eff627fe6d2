"""What can be wrong with a pipeline's configuration, found before the first stage writes anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from abcrown_graft.assembly import effort, inputs
from abcrown_graft.assembly.artifacts import artifact, is_artifact, written
from abcrown_graft.assembly.baseline import baseline_config, is_grafted_here, is_trained_here
from abcrown_graft.assembly.scalars import summary_writer
from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData
from abcrown_graft.engines.choose import require_native
from abcrown_graft.errors import ConfigError
from abcrown_graft.masks.presets import needs_significance
from abcrown_graft.masks.selection import check_room
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.pipeline.evaluation import evaluated_part
from abcrown_graft.pipeline.reporting import check_report
from abcrown_graft.pipeline.scoring import counted_images, learn_settings, refuse_sweep, scored_part
from abcrown_graft.pipeline.training import train_settings, training_part, tune_settings


@dataclass(frozen=True)
class StageInputs:
    """What stages depend on besides settings and other files.

    Attributes:
        architecture: fingerprint of the plain network's.
        data: fingerprints of images, by split.
    """

    architecture: str
    data: Mapping[str, str]

    def about(self, splits: Sequence[str]) -> dict[str, Any]:
        """What concerns a stage that reads these splits; a stage that reads none does with files alone."""
        if not splits:
            return {}
        return {"data": {split: self.data[split] for split in splits}, "architecture": self.architecture}


def inputs_of_stage(config: Config, splits: Sequence[str]) -> dict[str, Any]:
    """`StageInputs.about` for one stage; its images are held against the network, nothing else is checked."""
    if not splits:
        return {}
    model = _plain_model(config)
    return _stage_inputs(model, _fitting_images(config, model, splits)).about(splits)


def preflight(config: Config) -> StageInputs:
    """Checks settings, model and images of all stages.

    Returns:
        What the stages depend on besides their settings.

    Raises:
        AbcrownGraftError: the first mistake, told as the stage would that meets it.
    """
    require_native(config)
    inputs.device(config)
    effort.radius(config)
    effort.verify_settings(config)
    if is_trained_here(config):
        train_settings(config)
        written(config, "train.checkpoint")
    if config["train.tensorboard"]:
        summary_writer()
    if is_grafted_here(config):
        _check_grafting(config)
    check_report(artifact(config, "report.path"))
    return _check_images(config)


def _check_grafting(config: Config) -> None:
    """What can be said of the stages that graft without a network."""
    tune_settings(config)
    refuse_sweep(config)
    _check_own_files(config)
    for key in ("instability.dump", "mask.path", "tune.checkpoint"):
        written(config, key)
    if needs_significance(config["mask.preset"], config["mask.gamma"], config["mask.stages"]):
        written(config, "significance.path")
        if config["significance.method"] == "learned":
            learn_settings(config)


def _check_own_files(config: Config) -> None:
    """The pipeline measures the network that it grafts itself, by the mask that it makes itself."""
    for key, stage_key in (("graft.checkpoint", "tune.checkpoint"), ("graft.mask", "mask.path")):
        if config[key] and not is_artifact(config, key, stage_key):
            raise ConfigError(
                f"{config.origin(key)}: {key}: {config[key]} is not the file that the pipeline writes "
                f"({artifact(config, stage_key)}); remove it, or set {stage_key} to it"
            )


def _check_images(config: Config) -> StageInputs:
    """Reads every split in use and holds it against the network."""
    model = _plain_model(config)
    splits = _fitting_images(config, model, sorted({"train", config["instability.split"], config["data.split"]}))
    training_part(config, splits["train"])
    if is_grafted_here(config):
        scored_part(config, splits["train"])
        counted_images(config, len(splits[config["instability.split"]]))
        sizes = {site: math.prod(shape) for site, shape in model.identity.sites.items()}
        check_room(sizes, config["mask.ratio"], config["mask.scope"], config["mask.layer_cap"])
    evaluated_part(config, splits[config["data.split"]])
    inputs.instance_indices(config, len(splits[config["data.split"]]))
    return _stage_inputs(model, splits)


def _plain_model(config: Config) -> LoadedModel:
    plain = baseline_config(config)
    return inputs.untrained_model(plain) if is_trained_here(config) else inputs.configured_model(plain)


def _fitting_images(config: Config, model: LoadedModel, names: Iterable[str]) -> dict[str, ImageData]:
    splits = {name: inputs.images(config, name) for name in names}
    for data in splits.values():
        inputs.check_fit(data, model, config)
    return splits


def _stage_inputs(model: LoadedModel, splits: Mapping[str, ImageData]) -> StageInputs:
    return StageInputs(model.identity.architecture, {name: data.fingerprint for name, data in splits.items()})
