"""Verifies one network of the pipeline on the test images, with its instability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from abcrown_graft.assembly.artifacts import counterexample_path, dump_path, results_path
from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.config.config import Config
from abcrown_graft.engines.choose import require_native
from abcrown_graft.engines.native.engine import prepare_native
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.summary import summary_lines


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
    run = prepare_native(config)
    with reporter.bar(f"verify {name}", len(run.todo)) as bar:
        results = run.all_results(lambda result: bar.advance())
    _tell(reporter, name, results)
    return run.results.path


def _tell(reporter: Reporter, name: str, results: Sequence[InstanceResult]) -> None:
    reporter.say(f"{name}:")
    for line in summary_lines(results)[1:3]:
        reporter.say(line)
    for result in results:
        if result.verdict is Verdict.ERROR:
            reporter.say(f"warning: image {result.index} failed: {result.reason}")
