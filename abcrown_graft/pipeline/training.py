"""The stages that learn: `train` from scratch, and `tune` of a grafted network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

from abcrown_graft import __version__
from abcrown_graft.assembly import inputs
from abcrown_graft.assembly.artifacts import artifact, written
from abcrown_graft.assembly.baseline import baseline_config
from abcrown_graft.assembly.options import DataOptions, GeneralOptions, ModelOptions
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.assembly.saved_config import from_folder
from abcrown_graft.assembly.scalars import scalar_log
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError
from abcrown_graft.files import append_record, keep_aside, write_atomically
from abcrown_graft.masks.fitting import fitted_lines
from abcrown_graft.masks.options import SignificanceOptions
from abcrown_graft.models.checkpoint import save_checkpoint
from abcrown_graft.models.load import LoadedModel, prepare, read_mask
from abcrown_graft.nn.surgery import SiteValues, graft
from abcrown_graft.pipeline.scoring import scored_part
from abcrown_graft.training.allocator import keep_freed_memory
from abcrown_graft.training.loop import Bookkeeping, EpochRecord, TrainResult
from abcrown_graft.training.method import METHODS, Method
from abcrown_graft.training.settings import AdversarialSettings, TrainOptions, TrainSettings, TuneOptions, TuneSettings
from abcrown_graft.training.train import train
from abcrown_graft.training.tune import tune

LOG, CONFIG, RESUME = ".log.jsonl", ".config.yaml", ".resume"
FITTED = ("significance.samples", "significance.batch_size")  # what fitted lines depend on besides section tune
BESIDE_WEIGHTS = (RESUME, LOG, CONFIG)  # suffixes of what lies beside a checkpoint


def train_stage(config: Config, reporter: Reporter) -> Path:
    """Trains `model.name` from random weights; writes `train.checkpoint` and returns its path."""
    settings, path = train_settings(config), written(config, "train.checkpoint")
    device = inputs.device(config)
    torch.manual_seed(settings.seed)
    model, data = inputs.untrained_model(config), training_part(config, inputs.images(config, "train"))
    inputs.check_fit(data, model, config)
    result = _learn(train, config, reporter, model, data, settings, path, device)
    _save(config, reporter, path, model.core, data, result, {"stage": "train"})
    return path


def tune_stage(config: Config, reporter: Reporter) -> Path:
    """Grafts the plain network by `mask.path` and tunes it; writes `tune.checkpoint` and returns its path."""
    settings, path = tune_settings(config), written(config, "tune.checkpoint")
    device, split = inputs.device(config), inputs.images(config, "train")
    data = training_part(config, split)
    plain = inputs.configured_model(baseline_config(config))
    inputs.check_fit(data, plain, config)
    mask = read_mask(artifact(config, "mask.path"), plain.identity)
    if not mask.same_weights(plain.identity):
        reporter.say("note: the mask was made for other weights of this architecture")
    core = graft(plain.core, mask.masks, *_starting_lines(config, plain, split, device))
    pixels = config.settings(DataOptions)
    model = prepare(core, plain.input_shape, pixels.mean, pixels.std)
    result = _learn(tune, config, reporter, model, data, settings, path, device)
    about = {"stage": "tune", "plain": plain.identity.to_header(), "mask": dict(mask.provenance), "grafted": mask.count}
    _save(config, reporter, path, core, data, result, about)
    return path


def _starting_lines(config: Config, plain: LoadedModel, split: ImageData, device: str) -> tuple[SiteValues, SiteValues]:
    """Slopes and intercepts that tuning starts from; `split` is the whole training split."""
    tune = config.settings(TuneOptions)
    if not tune.fit_lines:
        return tune.slope, tune.intercept
    images = scored_part(config, split).images.to(device)
    network = plain.exact.to(device, torch.float32)
    return fitted_lines(network, images, config.settings(SignificanceOptions).batch_size)


def train_settings(config: Config) -> TrainSettings:
    """The section `train` and what it needs of others."""
    return config.settings(TrainSettings, epsilon=inputs.epsilon(config), method=_method(config, TrainSettings))


def tune_settings(config: Config) -> TuneSettings:
    """The section `tune`; method, attack, augmentation, precision and validation images are those of `train`.

    Raises:
        ConfigError: a value is out of range, or `tune.fit_lines` is set for neurons that are pruned.
    """
    tune = config.settings(TuneOptions)
    if tune.prune and tune.fit_lines:
        where = f"{config.origin('tune.fit_lines')}: tune.fit_lines"
        raise ConfigError(f"{where}: pruned neurons have no lines; set it or tune.prune to false")
    method = _method(config, TuneSettings).in_tuning()
    return config.settings(TuneSettings, epsilon=inputs.epsilon(config), method=method)


def _method(config: Config, kind: type[AdversarialSettings]) -> Method:
    """The method with its options, which a section may have for itself."""
    return config.settings(METHODS[config.settings(TrainOptions).method], kind.section)


def training_part(config: Config, data: ImageData) -> ImageData:
    """The first `train.limit` images of the training split.

    Raises:
        ConfigError: the split has fewer images, or `train.validation` leaves none to learn from.
    """
    part = config.settings(TrainOptions)
    limit, validation = part.limit, part.validation
    if limit is not None and limit > len(data):
        raise ConfigError(f"{config.origin('train.limit')}: train.limit: {limit}, the split has {len(data)} images")
    data = data if limit is None else data.select(range(limit))
    if validation >= len(data):
        where = f"{config.origin('train.validation')}: train.validation"
        raise ConfigError(f"{where}: {validation} images leave none of {len(data)} to learn from; choose fewer")
    return data


def _learn(
    learner: Callable[..., TrainResult],
    config: Config,
    reporter: Reporter,
    model: LoadedModel,
    data: ImageData,
    settings: TrainSettings | TuneSettings,
    path: Path,
    device: str,
) -> TrainResult:
    """Runs the epochs with a bar, a log beside the checkpoint and a file to resume from."""
    tensorboard = config.settings(TrainOptions).tensorboard
    told = scalar_log(path.with_suffix(".tensorboard"), settings.section) if tensorboard else None
    log, resume = path.with_suffix(LOG), path.with_suffix(RESUME)
    fitted = FITTED if settings.section == TuneSettings.section and config.settings(TuneOptions).fit_lines else ()
    also = {key: config[key] for key in ("data.mean", "data.std", *fitted)}
    subject = {"data": data.fingerprint, "architecture": model.identity.architecture, **also}
    keep_freed_memory()
    with reporter.bar(settings.section, settings.epochs) as bar:

        def on_epoch(record: EpochRecord) -> None:
            if record.epoch == 1:
                _keep_earlier(path, reporter)
            append_record(log, vars(record))
            if told is not None:
                told(record)
            bar.advance()
            bar.print(_epoch_line(settings, record))

        module: nn.Module = model.module.to(device)
        keeping = Bookkeeping(resume, on_epoch, subject)
        result = learner(module, data.images, data.labels, settings, keeping)
    module.cpu().eval()
    # An interruption between two writes may have cost the log an epoch.
    write_atomically(log, "".join(json.dumps(vars(record)) + "\n" for record in result.history).encode())
    return result


def _keep_earlier(path: Path, reporter: Reporter) -> None:
    """Moves an earlier checkpoint out of the way, with its log and configuration."""
    earlier = [file for file in (path, path.with_suffix(LOG), path.with_suffix(CONFIG)) if file.exists()]
    if earlier:
        reporter.say(f"earlier files kept as {', '.join(str(keep_aside(file)) for file in earlier)}")


def _epoch_line(settings: TrainSettings | TuneSettings, record: EpochRecord) -> str:
    certified = record.validation_certified_accuracy
    return (
        f"{settings.section} epoch {record.epoch}/{settings.epochs}: loss {record.loss:.4f}, "
        f"validation clean {100 * record.validation_accuracy:.2f}%, "
        f"one-step robust {100 * record.validation_robust_accuracy:.2f}%, "
        + ("" if certified is None else f"certified {100 * certified:.2f}%, ")
        + f"lr {record.lr:.2g}, {record.seconds:.1f} s"
    )


def _save(
    config: Config,
    reporter: Reporter,
    path: Path,
    core: nn.Module,
    data: ImageData,
    result: TrainResult,
    about: Mapping[str, Any],
) -> None:
    """Writes the checkpoint with its provenance; only then is the resume file not needed any more."""
    if path.exists():  # after an interruption before the first epoch was told; the log is this run's by now
        reporter.say(f"earlier files kept as {keep_aside(path)}")
    write_atomically(path.with_suffix(CONFIG), from_folder(config, path.parent).to_yaml().encode())
    header = {
        **about,
        "model_name": config.settings(ModelOptions).name,
        "config": _portable(config).to_yaml(only_changed=True),
        "seed": config.settings(GeneralOptions).seed,
        "data": {"dataset": data.name, "split": data.split, "images": len(data), "fingerprint": data.fingerprint},
        "best_epoch": result.best_epoch,
        "versions": {
            "abcrown_graft": __version__,
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
    }
    save_checkpoint(path, core, header)
    path.with_suffix(RESUME).unlink(missing_ok=True)


def _portable(config: Config) -> Config:
    """Without the place of the data on this machine: the fingerprint says which data they are."""
    return config.replace({"data.data_dir": SCHEMA["data.data_dir"].default}, "a checkpoint")
