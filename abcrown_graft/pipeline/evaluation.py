"""Clean and robust accuracy (SA, RA) of a network on the test images."""

from __future__ import annotations

from pathlib import Path

from abcrown_graft.config.config import Config
from abcrown_graft.errors import ConfigError
from abcrown_graft.pipeline import inputs
from abcrown_graft.pipeline.artifacts import output_folder, write_json
from abcrown_graft.pipeline.reporter import Reporter
from abcrown_graft.training.evaluate import accuracy, pgd_accuracy


def evaluate_stage(config: Config, reporter: Reporter, name: str = "model") -> Path:
    """Measures SA and RA of the configured model on the first `evaluate.limit` test images.

    RA is PGD with `evaluate.pgd_steps` steps of `evaluate.pgd_step * epsilon / pgd_steps` from
    `evaluate.pgd_restarts` random starts; see `training.evaluate.pgd_accuracy`.

    Returns:
        The JSON file `evaluation_<name>.json` in `pipeline.output`.
    """
    device = inputs.device(config)
    model = inputs.configured_model(config)
    data = inputs.images(config)
    inputs.check_fit(data, model, config)
    limit = config["evaluate.limit"]
    if limit is not None and limit > len(data):
        where = config.origin("evaluate.limit")
        raise ConfigError(f"{where}: evaluate.limit: {limit}, the split has {len(data)} images")
    count = limit or len(data)
    images, labels = data.images[:count], data.labels[:count]
    module = model.module.to(device)
    clean = accuracy(module, images, labels)
    robust = pgd_accuracy(
        module,
        images,
        labels,
        inputs.epsilon(config),
        steps=config["evaluate.pgd_steps"],
        step=config["evaluate.pgd_step"],
        restarts=config["evaluate.pgd_restarts"],
        seed=config["general.seed"],
    )
    reporter.say(
        f"{name}: SA {100 * clean:.2f}%, RA {100 * robust:.2f}% (PGD-{config['evaluate.pgd_steps']}, "
        f"epsilon {inputs.epsilon(config):g}, {count} {data.split} images of {data.name})"
    )
    path = output_folder(config) / f"evaluation_{name}.json"
    write_json(
        path,
        {
            "standard_accuracy": clean,
            "robust_accuracy": robust,
            "images": count,
            "epsilon": inputs.epsilon(config),
            "pgd_steps": config["evaluate.pgd_steps"],
            "dataset": data.name,
            "split": data.split,
            "weights": model.identity.weights,
        },
    )
    return path
