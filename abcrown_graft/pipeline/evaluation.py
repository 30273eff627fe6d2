"""Clean and robust accuracy (SA, RA) of a network on the test images."""

from __future__ import annotations

from pathlib import Path

from abcrown_graft.assembly import inputs
from abcrown_graft.assembly.artifacts import evaluation_path, replace_artifact, write_json
from abcrown_graft.assembly.options import GeneralOptions
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.config.config import Config
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError
from abcrown_graft.files import check_writable
from abcrown_graft.pipeline.options import EvaluateOptions
from abcrown_graft.training.evaluate import PgdAttack, accuracy, pgd_accuracy


def evaluate_stage(config: Config, reporter: Reporter, name: str = "model") -> Path:
    """Measures SA and RA of the configured model on the first `evaluate.limit` test images.

    RA is PGD with `evaluate.pgd_steps` steps of `evaluate.pgd_step * epsilon / pgd_steps` from
    `evaluate.pgd_restarts` random starts; see `training.evaluate.pgd_accuracy`.

    Returns:
        The JSON file `evaluation_<name>.json` in the network's folder.
    """
    path = evaluation_path(config, name)
    check_writable(path)
    device, epsilon = inputs.device(config), inputs.epsilon(config)
    model, data = inputs.configured_model(config), evaluated_part(config, inputs.images(config))
    inputs.check_fit(data, model, config)
    module, steps = model.module.to(device), config.settings(EvaluateOptions).pgd_steps
    clean = accuracy(module, data.images, data.labels)
    robust = pgd_accuracy(module, data.images, data.labels, _attack(config, epsilon))
    reporter.say(
        f"{name}: SA {100 * clean:.2f}%, RA {100 * robust:.2f}% (PGD-{steps}, "
        f"epsilon {epsilon:g}, {len(data)} {data.split} images of {data.name})"
    )
    found = {"standard_accuracy": clean, "robust_accuracy": robust, "images": len(data), "epsilon": epsilon}
    about = {"dataset": data.name, "split": data.split, "weights": model.identity.weights}
    content = {**found, "pgd_steps": steps, **about}
    replace_artifact(path, lambda: write_json(path, content), reporter)
    return path


def evaluated_part(config: Config, data: ImageData) -> ImageData:
    """The first `evaluate.limit` images of the split.

    Raises:
        ConfigError: there are fewer.
    """
    limit = config.settings(EvaluateOptions).limit
    if limit is not None and limit > len(data):
        where = f"{config.origin('evaluate.limit')}: evaluate.limit"
        raise ConfigError(f"{where}: {limit}, the split has {len(data)} images")
    return data if limit is None else data.select(range(limit))


def _attack(config: Config, epsilon: float) -> PgdAttack:
    attack, seed = config.settings(EvaluateOptions), config.settings(GeneralOptions).seed
    return PgdAttack(
        epsilon=epsilon, steps=attack.pgd_steps, step=attack.pgd_step, restarts=attack.pgd_restarts, seed=seed
    )
