"""Verifies one network of the pipeline on the test images, with its instability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from abcrown_graft.config.config import Config
from abcrown_graft.pipeline.artifacts import network_folder
from abcrown_graft.pipeline.engine import require_native
from abcrown_graft.pipeline.reporter import Reporter
from abcrown_graft.pipeline.verification import prepare_verification
from abcrown_graft.verify.summary import summary_lines
from abcrown_graft.verify.verdict import InstanceResult, Verdict


def results_path(config: Config, name: str) -> Path:
    """Where the verdicts of the network `name` go."""
    return network_folder(config, name) / f"verify_{name}.jsonl"


def dump_path(config: Config, name: str) -> Path:
    """Where the instability of the network `name` on the verified images goes."""
    return network_folder(config, name) / f"verify_{name}_instability.safetensors"


def verify_stage(config: Config, reporter: Reporter, name: str) -> Path:
    """Verifies the configured images; an interrupted stage resumes.

    Returns:
        The results file `verify_<name>.jsonl` in the network's folder; beside it lies the instability
        dump over the same images.
    """
    own = {
        "general.results_file": results_path(config, name),
        "instability.dump": dump_path(config, name),
        "attack.cex_path": counterexample_path(config, name),
    }
    config = config.replace({key: str(path.absolute()) for key, path in own.items()}, "the pipeline")
    require_native(config)
    verification = prepare_verification(config)
    found = dict(verification.results.done)
    with reporter.bar(f"verify {name}", len(verification.todo)) as bar:
        for result in verification.run():
            found[result.index] = result
            bar.advance()
    _tell(reporter, name, [found[index] for index in verification.indices])
    return verification.results.path


def counterexample_path(config: Config, name: str) -> Path:
    """Where the counterexamples against the network `name` go, if they are saved: apart from the other network's."""
    chosen = None if config.is_default("attack.cex_path") else config.path("attack.cex_path", must_exist=False)
    base = chosen or network_folder(config, name) / "counterexample.txt"
    return base.with_name(f"{base.stem}_{name}{base.suffix}")


def _tell(reporter: Reporter, name: str, results: Sequence[InstanceResult]) -> None:
    reporter.say(f"{name}:")
    for line in summary_lines(results)[1:3]:
        reporter.say(line)
    for result in results:
        if result.verdict is Verdict.ERROR:
            reporter.say(f"warning: image {result.index} failed: {result.reason}")
