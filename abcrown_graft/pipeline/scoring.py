"""The stages between two networks: instability, significance, and the mask made of them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData
from abcrown_graft.errors import AbcrownGraftError, ConfigError, MaskError
from abcrown_graft.graft.identity import ModelIdentity, explain_difference
from abcrown_graft.graft.legacy import legacy_scores
from abcrown_graft.graft.mask import GraftMask
from abcrown_graft.graft.scores import SiteScores
from abcrown_graft.graft.selection import GraftWarning, select_mask
from abcrown_graft.graft.significance import significance
from abcrown_graft.instability import dump as dumps
from abcrown_graft.instability.recorder import InstabilityRecorder
from abcrown_graft.models.load import LEGACY_SUFFIXES, LoadedModel
from abcrown_graft.pipeline import effort, inputs
from abcrown_graft.pipeline.artifacts import artifact
from abcrown_graft.pipeline.baseline import baseline_config
from abcrown_graft.pipeline.engine import require_native
from abcrown_graft.pipeline.reporter import Reporter
from abcrown_graft.pipeline.verification import instability_recorder
from abcrown_graft.verify.problem import Subject
from abcrown_graft.verify.run import verify_images
from abcrown_graft.verify.verdict import Verdict


def instability_stage(config: Config, reporter: Reporter, grafted: bool = False) -> Path:
    """Counts unstable neurons over `instability.split`, without attack or search; returns the dump's path.

    Args:
        config: the model is `model.path`'s plain network, or with `grafted` the one of section `graft`.
        reporter: shows progress.
        grafted: see `config`.
    """
    config = config if grafted else baseline_config(config)
    require_native(config, ("specification.", "instability.", "solver.bound_prop_method"))
    path = artifact(config, "instability.dump").absolute()
    config = config.replace({"instability.dump": str(path)}, "the instability stage")
    device = inputs.device(config)
    model = inputs.configured_model(config)
    data = inputs.images(config, config["instability.split"])
    inputs.check_fit(data, model, config)
    recorder = instability_recorder(config, model, data)
    assert recorder is not None
    if recorder.dump.n:
        reporter.say(f"instability: going on with {recorder.dump.n} images counted in {path}")
    _count(config, reporter, model, data, recorder, device)
    return path


def _count(
    config: Config,
    reporter: Reporter,
    model: LoadedModel,
    data: ImageData,
    recorder: InstabilityRecorder,
    device: str,
) -> None:
    """Runs the cascade without attack over the images that the dump does not have yet."""
    known = set(recorder.dump.indices.tolist())
    todo = [index for index in counted_images(config, len(data)) if index not in known]
    settings = replace(effort.verify_settings(config), attack=None, incomplete=recorder.after_bounds, search=None)
    subject = Subject.prepare(model.module, model.exact, device, settings.double)
    with reporter.bar("instability", len(todo)) as bar:
        images, labels, specify = data.images[todo], data.labels[todo], effort.specification(config, data)
        for result in verify_images(subject, images, labels, todo, settings, recorder, specify=specify):
            if result.verdict in (Verdict.ERROR, Verdict.OUT_OF_MEMORY):
                raise AbcrownGraftError(f"instability: image {result.index}: {result.reason}")
            bar.advance()
    if not recorder.dump.n:
        recorder.dump.save(recorder.path)


def counted_images(config: Config, total: int) -> range:
    """The images of `instability.start` and `instability.end`, of the `total` of the split.

    Raises:
        ConfigError: none is left.
    """
    start, end = config["instability.start"], config["instability.end"]
    chosen = range(start, total if end is None else min(end, total))
    if not chosen:
        raise ConfigError(
            f"instability.start {start} ({config.origin('instability.start')}) and instability.end {end} "
            f"({config.origin('instability.end')}) leave no image; the split has {total}"
        )
    return chosen


def scored_part(config: Config, data: ImageData) -> ImageData:
    """The first `significance.samples` images of the training split.

    Raises:
        ConfigError: there are fewer.
    """
    samples = config["significance.samples"]
    if samples > len(data):
        where = f"{config.origin('significance.samples')}: significance.samples"
        raise ConfigError(f"{where}: {samples}, the training split has {len(data)} images")
    return data.select(range(samples))


def significance_stage(config: Config, reporter: Reporter) -> Path:
    """Scores the plain network's neurons on the first `significance.samples` training images; returns the path."""
    config = baseline_config(config)
    device, model = inputs.device(config), inputs.configured_model(config)
    data = scored_part(config, inputs.images(config, "train"))
    inputs.check_fit(data, model, config)
    method = config["significance.method"]
    network = model.network.to(device, torch.float32)
    images, labels = data.images.to(device), data.labels.to(device)
    values = significance(network, images, labels, method, config["significance.batch_size"])
    about = {"method": method, "samples": len(data), "dataset": data.name, "data": data.fingerprint}
    path = artifact(config, "significance.path")
    SiteScores("significance", values, model.identity, about).save(path)
    reporter.say(f"significance: {method} over {len(data)} images")
    return path


def mask_stage(config: Config, reporter: Reporter) -> Path:
    """Chooses the neurons to graft from the two score files; returns the mask's path.

    `instability.dump` and `significance.path` may be the published lists of tensors (`.pt`, `.pth`);
    then `model.name` says which network they are of.
    """
    instability = _instability_scores(config)
    significance_scores = _significance_scores(config, instability)
    model = instability.model
    if model is None:
        raise MaskError("the scores do not say which model they are of; set model.name")
    masks = _selected(config, reporter, instability, significance_scores)
    mask = GraftMask(masks, model, _mask_provenance(config, instability, significance_scores))
    path = artifact(config, "mask.path")
    mask.save(path)
    for site, count in mask.count_per_site().items():
        reporter.say(f"site {site}: {count} of {mask.masks[site].numel()} neurons grafted")
    reporter.say(f"mask ({config['mask.preset']}): {mask.count} of {mask.size} neurons grafted")
    return path


def _selected(
    config: Config, reporter: Reporter, instability: SiteScores, significance_scores: SiteScores | None
) -> dict[str, Tensor]:
    """The masks by site that the section `mask` selects; what is rarely meant is told."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GraftWarning)
        masks = select_mask(
            instability.values,
            None if significance_scores is None else significance_scores.values,
            config["mask.ratio"],
            config["mask.preset"],
            mapping=config["mask.mapping"],
            scope=config["mask.scope"],
            gamma=config["mask.gamma"],
            stages=config["mask.stages"],
            layer_cap=config["mask.layer_cap"],
            seed=config["mask.seed"],
        )
    for warning in caught:
        reporter.say(f"warning: {warning.message}")
    return masks


def _mask_provenance(config: Config, instability: SiteScores, significance_scores: SiteScores | None) -> dict[str, Any]:
    options = ("preset", "ratio", "mapping", "scope", "gamma", "stages", "layer_cap", "seed")
    return {
        **{name: config[f"mask.{name}"] for name in options},
        "instability": dict(instability.provenance),
        "significance": None if significance_scores is None else dict(significance_scores.provenance),
    }


def _instability_scores(config: Config) -> SiteScores:
    path = artifact(config, "instability.dump")
    if path.suffix in LEGACY_SUFFIXES:
        return legacy_scores(path, _named_model(config, path), kind="instability")
    return dumps.load(path).rates()


def _significance_scores(config: Config, instability: SiteScores) -> SiteScores | None:
    """The significance scores, of the model that the instability is of; None where the preset needs none."""
    path = artifact(config, "significance.path")
    if config["significance.path"] is None and not path.exists():
        return None
    if path.suffix in LEGACY_SUFFIXES:
        return legacy_scores(path, instability.model)
    scores = SiteScores.load(path)
    if scores.model != instability.model and scores.model is not None and instability.model is not None:
        difference = explain_difference(instability.model, scores.model)
        raise MaskError(f"{path}: scores of another model than the instability's ({difference})")
    return scores


def _named_model(config: Config, path: Path) -> ModelIdentity:
    """The identity of `model.name`, for files that do not say whose they are; the weights are not known."""
    inputs.require(config, "model.name", f"{path} does not say which network it is of")
    return replace(inputs.untrained_model(config).identity, weights="unknown")
