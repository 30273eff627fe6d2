"""Verifies one network of the pipeline on the test images, with its instability."""

from __future__ import annotations

from pathlib import Path

from abcrown_graft.config.config import Config
from abcrown_graft.config.engine import check_engine
from abcrown_graft.pipeline.artifacts import output_folder
from abcrown_graft.pipeline.reporter import Reporter
from abcrown_graft.pipeline.verification import prepare_verification
from abcrown_graft.verify.summary import summary_lines


def results_path(config: Config, name: str) -> Path:
    """Where the verdicts of the network `name` go."""
    return output_folder(config) / f"verify_{name}.jsonl"


def dump_path(config: Config, name: str) -> Path:
    """Where the instability of the network `name` on the verified images goes."""
    return output_folder(config) / f"verify_{name}_instability.safetensors"


def verify_stage(config: Config, reporter: Reporter, name: str = "model") -> Path:
    """Verifies the configured images; an interrupted stage resumes.

    Returns:
        The results file `verify_<name>.jsonl` in `pipeline.output`; beside it lies the instability
        dump over the same images.
    """
    own = {
        "general.results_file": str(results_path(config, name).absolute()),
        "instability.dump": str(dump_path(config, name).absolute()),
    }
    config = config.replace(own, "the pipeline")
    check_engine(config, "native")
    verification = prepare_verification(config)
    found = dict(verification.results.done)
    with reporter.bar(f"verify {name}", len(verification.todo)) as bar:
        for result in verification.run():
            found[result.index] = result
            bar.advance()
    reporter.say(f"{name}:")
    for line in summary_lines([found[index] for index in verification.indices])[1:3]:
        reporter.say(line)
    return verification.results.path

