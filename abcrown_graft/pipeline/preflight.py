"""What can be wrong with a pipeline's configuration, found before the first stage writes anything."""

from __future__ import annotations

from typing import Any

from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError
from abcrown_graft.pipeline import effort, inputs
from abcrown_graft.pipeline.artifacts import artifact, is_artifact
from abcrown_graft.pipeline.baseline import baseline_config, is_grafted_here, is_trained_here
from abcrown_graft.pipeline.engine import require_native
from abcrown_graft.pipeline.evaluation import evaluated_part
from abcrown_graft.pipeline.reporting import check_report
from abcrown_graft.pipeline.scoring import counted_images, refuse_sweep, scored_part
from abcrown_graft.pipeline.training import train_settings, training_part, tune_settings


def preflight(config: Config) -> dict[str, Any]:
    """Checks settings, model and images of all stages.

    Returns:
        What every stage depends on besides its settings: fingerprints of the images and the architecture.

    Raises:
        AbcrownGraftError: the first mistake, told as the stage would that meets it.
    """
    require_native(config)
    inputs.device(config)
    effort.verify_settings(config)
    if is_trained_here(config):
        train_settings(config)
    if is_grafted_here(config):
        tune_settings(config)
        refuse_sweep(config)
        _check_own_files(config)
    check_report(artifact(config, "report.path"))
    return _check_images(config)


def _check_own_files(config: Config) -> None:
    """The pipeline measures the network that it grafts itself, by the mask that it makes itself."""
    for key, stage_key in (("graft.checkpoint", "tune.checkpoint"), ("graft.mask", "mask.path")):
        if config[key] and not is_artifact(config, key, stage_key):
            raise ConfigError(
                f"{config.origin(key)}: {key}: {config[key]} is not the file that the pipeline writes "
                f"({artifact(config, stage_key)}); remove it, or set {stage_key} to it"
            )


def _check_images(config: Config) -> dict[str, Any]:
    """Reads every split in use and holds it against the network."""
    plain = baseline_config(config)
    model = inputs.untrained_model(plain) if is_trained_here(config) else inputs.configured_model(plain)
    names = {"train", config["instability.split"], config["data.split"]}
    splits = {name: inputs.images(config, name) for name in sorted(names)}
    for data in splits.values():
        inputs.check_fit(data, model, config)
    training_part(config, splits["train"])
    if is_grafted_here(config):
        scored_part(config, splits["train"])
        counted_images(config, len(splits[config["instability.split"]]))
    evaluated_part(config, splits[config["data.split"]])
    inputs.instance_indices(config, len(splits[config["data.split"]]))
    fingerprints = {name: data.fingerprint for name, data in splits.items()}
    return {"data": fingerprints, "architecture": model.identity.architecture}
