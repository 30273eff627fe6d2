"""The stages between two networks: instability, significance, and the mask made of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from abcrown_graft.assembly import effort, inputs
from abcrown_graft.assembly.artifacts import artifact, replace_artifact, written
from abcrown_graft.assembly.baseline import baseline_config
from abcrown_graft.assembly.recording import instability_recorder
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData
from abcrown_graft.engines.choose import require_native
from abcrown_graft.errors import AbcrownGraftError, ConfigError, FileFormatError, MaskError, SettingsDifferError
from abcrown_graft.files import LEGACY_SUFFIXES
from abcrown_graft.masks import dump as dumps
from abcrown_graft.masks.identity import explain_difference
from abcrown_graft.masks.learned import LearnSettings, learned_scores
from abcrown_graft.masks.legacy import legacy_scores
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.masks.presets import needs_significance
from abcrown_graft.masks.scores import SiteScores
from abcrown_graft.masks.selection import GraftWarning, select_mask, target_count
from abcrown_graft.masks.significance import significance
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.pipeline.mask_overlap import named_model
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.case import image_cases
from abcrown_graft.verify.cases import verify_cases
from abcrown_graft.verify.problem import Subject, VerifySettings
from abcrown_graft.verify.recorder import HeldBack, InstabilityRecorder


def instability_stage(config: Config, reporter: Reporter, grafted: bool = False) -> Path:
    """Counts unstable neurons over `instability.split`, without search; returns the dump's path.

    Of the population `bab`, attack and bounds (`solver.bound_prop_method`) are run, to know what they leave open.

    Args:
        config: the model is `model.path`'s plain network, or with `grafted` the one of section `graft`.
        reporter: shows progress.
        grafted: see `config`.
    """
    config = config if grafted else baseline_config(config)
    read = ("specification.", "instability.", "solver.bound_prop_method")
    require_native(config, (*read, "attack.") if config["instability.population"] == "bab" else read)
    path = written(config, "instability.dump").absolute()
    config = config.replace({"instability.dump": str(path)}, "the instability stage")
    device = inputs.device(config)
    model = inputs.configured_model(config)
    data = inputs.images(config, config["instability.split"])
    inputs.check_fit(data, model, config)
    recorder = instability_recorder(config, model, data)
    assert recorder is not None
    _refuse_others(path, set(recorder.dump.indices.tolist()) - set(counted_images(config, len(data))))
    if recorder.dump.n:
        reporter.say(f"instability: going on with {recorder.dump.n} images counted in {path}")
    _count(config, reporter, model, data, recorder, device)
    return path


def _refuse_others(path: Path, others: set[int]) -> None:
    """Raises SettingsDifferError if a dump holds images that are not to be counted."""
    if others:
        raise SettingsDifferError(
            f"{path}: counts image {min(others)} and {len(others) - 1} others that instability.start and "
            "instability.end leave out; name another instability.dump, or delete the file to start anew"
        )


def _count(
    config: Config,
    reporter: Reporter,
    model: LoadedModel,
    data: ImageData,
    recorder: InstabilityRecorder,
    device: str,
) -> None:
    """Runs as much of the cascade as the population needs over the images that the dump does not have yet."""
    known = set(recorder.dump.indices.tolist())
    todo = [index for index in counted_images(config, len(data)) if index not in known]
    settings = _count_settings(config, recorder)
    subject = Subject.prepare(model.module, model.exact, device, settings.double)
    watcher = HeldBack(recorder) if recorder.after_bounds else recorder
    with reporter.bar("instability", len(todo)) as bar:
        robustness, outputs = effort.specification(config, data), math.prod(model.network.output.shape)
        cases = image_cases(data.images[todo], data.labels[todo], todo, robustness, outputs)
        for result in verify_cases(subject, cases, settings, watcher):
            if result.verdict in (Verdict.ERROR, Verdict.OUT_OF_MEMORY):
                raise AbcrownGraftError(f"instability: image {result.index}: {result.reason}")
            if isinstance(watcher, HeldBack):
                watcher.settle(result.index, result.verdict in (Verdict.UNKNOWN, Verdict.TIMEOUT))
            bar.advance()
    if not recorder.dump.n:
        recorder.dump.save(recorder.path)


def _count_settings(config: Config, recorder: InstabilityRecorder) -> VerifySettings:
    """What has to be run for the recorder to know its population: nothing, or all that precedes branch and bound."""
    settings = effort.verify_settings(config)
    if not recorder.after_bounds:
        return replace(settings, attack=None, incomplete=False, search=None)
    search = settings.search if config["solver.bound_prop_method"] == "alpha-crown" else None
    return replace(settings, search=search, complete_verifier="skip", input_split=None)


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
    path = written(config, "significance.path")
    device, model = inputs.device(config), inputs.configured_model(config)
    data = scored_part(config, inputs.images(config, "train"))
    inputs.check_fit(data, model, config)
    values, settings = _significance(config, reporter, model, data, device)
    method = config["significance.method"]
    about = {"method": method, "samples": len(data), "dataset": data.name, "data": data.fingerprint, **settings}
    scores = SiteScores("significance", values, model.identity, about)
    replace_artifact(path, lambda: scores.save(path), reporter)
    reporter.say(f"significance: {method} over {len(data)} images")
    return path


def _significance(
    config: Config, reporter: Reporter, model: LoadedModel, data: ImageData, device: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The scores by site, and what they depend on besides method and images."""
    network = model.network.to(device, torch.float32)
    images, labels = data.images.to(device), data.labels.to(device)
    method, size = config["significance.method"], config["significance.batch_size"]
    heuristic = config["significance.init"] if method == "learned" else method
    radius = inputs.epsilon(config) if "interval" == heuristic else None
    learning = learn_settings(config) if method == "learned" else None
    values = significance(network, images, labels, heuristic, size, radius)
    if learning is None:
        return values, {} if radius is None else {"epsilon": radius}
    with reporter.bar("significance", learning.epochs) as bar:

        def on_epoch(epoch: int, loss: float) -> None:
            bar.advance()
            bar.print(f"significance epoch {epoch}/{learning.epochs}: loss {loss:.4f}")

        values = learned_scores(network, images, labels, values, learning, on_epoch)
    return values, {"init": heuristic, **_learning_provenance(learning)}


def learn_settings(config: Config) -> LearnSettings:
    """How `significance.method: learned` learns; its attack is that of `train`, its line that of `tune`."""
    own = ("epochs", "batch_size", "lr", "gradalign", "ratio", "scope")
    zero = config["significance.replacement"] == "zero"
    return LearnSettings(
        **{name: config[f"significance.{name}"] for name in own},
        epsilon=inputs.epsilon(config),
        attack_step=config["train.attack_step"],
        seed=config["general.seed"],
        slope=0.0 if zero else config["tune.slope"],
        intercept=0.0 if zero else config["tune.intercept"],
    )


def _learning_provenance(settings: LearnSettings) -> dict[str, Any]:
    names = ("epochs", "batch_size", "lr", "momentum", "epsilon", "attack_step", "gradalign", "seed")
    return {name: getattr(settings, name) for name in (*names, "ratio", "scope", "slope", "intercept")}


def mask_stage(config: Config, reporter: Reporter) -> Path:
    """Chooses the neurons to graft from the two score files; returns the mask's path.

    `instability.dump` and `significance.path` may be the published lists of tensors (`.pt`, `.pth`);
    then `model.name` says which network they are of.

    Raises:
        ConfigError: `mask.sweep` is set, see `sweep_stage`, or an option does not suit the scores.
        MaskError: the scores are of different models.
    """
    refuse_sweep(config)
    (path,) = _make_masks(config, reporter, {written(config, "mask.path"): config["mask.ratio"]})
    return path


def refuse_sweep(config: Config) -> None:
    """Raises ConfigError where several masks are asked for and one is made."""
    if config["mask.sweep"]:
        where = f"{config.origin('mask.sweep')}: mask.sweep"
        raise ConfigError(f"{where}: only the command mask makes several masks; set mask.ratio, once for each run")


def sweep_stage(config: Config, reporter: Reporter) -> list[Path]:
    """As `mask_stage`, once for every ratio of `mask.sweep`, from one reading of the scores; returns the paths.

    Raises:
        ConfigError: two ratios would go into one file.
    """
    return _make_masks(config, reporter, sweep_paths(written(config, "mask.path"), config["mask.sweep"]))


def sweep_paths(path: Path, ratios: Sequence[float]) -> dict[Path, float]:
    """The ratio of each file: `mask_30.safetensors` has 0.3 if `path` is `mask.safetensors`."""
    paths: dict[Path, float] = {}
    for ratio in ratios:
        own = path.with_name(f"{path.stem}_{100 * ratio:g}{path.suffix}")
        if own in paths:
            raise ConfigError(f"mask.sweep: {paths[own]} and {ratio} would both go into {own}; remove one")
        paths[own] = ratio
    return paths


def _make_masks(config: Config, reporter: Reporter, ratios: Mapping[Path, float]) -> list[Path]:
    """Writes the mask of each ratio to its file, once all of them are made."""
    instability = _instability_scores(config)
    significance_scores = _significance_scores(config, instability)
    model = instability.model
    if model is None:
        raise MaskError("the scores do not say which model they are of; set model.name")
    made = {}
    for path, ratio in ratios.items():
        config = config.replace({"mask.ratio": ratio}, "the mask stage")
        masks = _selected(config, reporter, instability, significance_scores)
        made[path] = GraftMask(masks, model, _mask_provenance(config, instability, significance_scores))
        _tell(config, reporter, made[path])
    for path, mask in made.items():
        replace_artifact(path, partial(mask.save, path), reporter)
    return list(made)


def _tell(config: Config, reporter: Reporter, mask: GraftMask) -> None:
    """How many neurons of which site are grafted."""
    for site, count in mask.count_per_site().items():
        reporter.say(f"site {site}: {count} of {mask.masks[site].numel()} neurons grafted")
    target = target_count([part.numel() for part in mask.masks.values()], config["mask.ratio"], config["mask.scope"])
    missed = "" if mask.count == target else f"; whole channels miss the target of {target} by {mask.count - target:+d}"
    reporter.say(f"mask ({config['mask.preset']}): {mask.count} of {mask.size} neurons grafted{missed}")


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
            granularity=config["mask.granularity"],
            gamma=config["mask.gamma"],
            stages=config["mask.stages"],
            layer_cap=config["mask.layer_cap"],
            seed=config["mask.seed"],
        )
    for warning in caught:
        reporter.say(f"warning: {warning.message}")
    return masks


def _mask_provenance(config: Config, instability: SiteScores, significance_scores: SiteScores | None) -> dict[str, Any]:
    options = ("preset", "ratio", "mapping", "scope", "granularity", "gamma", "stages", "layer_cap", "seed")
    return {
        **{name: config[f"mask.{name}"] for name in options},
        "instability": dict(instability.provenance),
        "significance": None if significance_scores is None else dict(significance_scores.provenance),
    }


def _instability_scores(config: Config) -> SiteScores:
    path = artifact(config, "instability.dump")
    if path.suffix in LEGACY_SUFFIXES:
        return legacy_scores(path, named_model(config, path), kind="instability")
    return dumps.load(path).rates()


def _significance_scores(config: Config, instability: SiteScores) -> SiteScores | None:
    """The significance scores, of the model that the instability is of; None where the preset needs none."""
    path = artifact(config, "significance.path")
    if not needs_significance(config["mask.preset"], config["mask.gamma"], config["mask.stages"]):
        return None
    if not path.exists():
        raise FileFormatError(
            f"{path}: no such file; mask.preset {config['mask.preset']} needs significance scores: make them with "
            "abcrown-graft significance, or name theirs by significance.path"
        )
    if path.suffix in LEGACY_SUFFIXES:
        return legacy_scores(path, instability.model)
    scores = SiteScores.load(path)
    if scores.model != instability.model and scores.model is not None and instability.model is not None:
        difference = explain_difference(instability.model, scores.model)
        raise MaskError(f"{path}: scores of another model than the instability's ({difference})")
    return scores
