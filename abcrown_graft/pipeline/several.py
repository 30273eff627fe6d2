"""Several configurations, one after the other: the rows of one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from abcrown_graft.assembly.artifacts import output_folder
from abcrown_graft.assembly.options import GeneralOptions, PipelineOptions
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.config.config import Config
from abcrown_graft.errors import AbcrownGraftError, ConfigError
from abcrown_graft.pipeline.run import run_pipeline
from abcrown_graft.pipeline.stages import Stage, pipeline_stages


def with_seeds(configs: Sequence[Config], seeds: Sequence[int]) -> list[Config]:
    """Every configuration once for each seed, seed by seed; as they are if there is none."""
    return [_with_seed(config, seed) for seed in seeds for config in configs] if seeds else list(configs)


def _with_seed(config: Config, seed: int) -> Config:
    """Its folders are sub-folders of the configured ones, as both networks depend on the seed."""
    pipeline = config.settings(PipelineOptions)
    folders = {"pipeline.output": pipeline.output or "runs", "pipeline.baseline": pipeline.baseline}
    values = {key: str(Path(folder) / f"seed_{seed}") for key, folder in folders.items() if folder}
    return config.replace({"general.seed": seed, "mask.seed": seed, **values}, "flag --seeds")


def check_apart(configs: Sequence[Config]) -> None:
    """Refuses configurations that would move each other's files aside.

    Raises:
        ConfigError: two write the same file, and not as the same stage of the same plain network.
    """
    claims: dict[Path, tuple[Config, Stage]] = {}
    for config in configs:
        with _named(config):
            stages = pipeline_stages(config)
        for stage in stages:
            for path in stage.writes:
                other, same = claims.setdefault(path.resolve(), (config, stage))
                if other is not config:
                    _check_shared(path, stage, same, config, other)


def run_several(configs: Sequence[Config], reporter: Reporter) -> list[Path]:
    """Runs all configurations in order; returns their folders.

    Raises:
        ConfigError: two of them write the same file, then none is run.
        AbcrownGraftError: see `run_pipeline`; names the configuration. What was finished before stays.
    """
    check_apart(configs)
    for config in configs:
        reporter.say(f"== {_title(config)}")
        with _named(config):
            run_pipeline(config, reporter)
    return [output_folder(config) for config in configs]


def _title(config: Config) -> str:
    return f"{config.file}, seed {config.settings(GeneralOptions).seed}"


@contextmanager
def _named(config: Config) -> Iterator[None]:
    """Errors name the configuration."""
    try:
        yield
    except AbcrownGraftError as error:
        if config.file is None or str(config.file) in str(error):
            raise
        raise type(error)(f"{config.file}: {error}") from error


def _check_shared(path: Path, stage: Stage, same: Stage, config: Config, other: Config) -> None:
    clash = f"{_title(config)}: stage {stage.name!r} writes {path}, as {same.name!r} of {_title(other)} does"
    if not (stage.shared and same.shared):
        raise ConfigError(f"{clash}; give each its own pipeline.output")
    for path_here, path_there in zip(stage.reads, same.reads, strict=False):
        if path_here.resolve() != path_there.resolve():
            files = f"it reads {path_here} here and {path_there} there"
            raise ConfigError(f"{clash}, but {files}; give each its own pipeline.baseline, or the same files")
    for key in stage.keys:
        if config[key] != other[key]:
            values = f"{key} is {config[key]} here and {other[key]} there"
            raise ConfigError(f"{clash}, but {values}; give each its own pipeline.baseline, or the same settings")
