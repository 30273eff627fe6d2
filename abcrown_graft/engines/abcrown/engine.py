"""α,β-CROWN as the engine of a run over images."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from abcrown_graft.assembly import inputs
from abcrown_graft.assembly.image_instances import configured_images
from abcrown_graft.assembly.outputs import image_outputs
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.engines.abcrown.confirm import confirmed
from abcrown_graft.engines.abcrown.counting import count_instability, is_counted
from abcrown_graft.engines.abcrown.guards import Circumstances, check_guards
from abcrown_graft.engines.abcrown.instances import instance_tensors
from abcrown_graft.engines.abcrown.job import Task, is_named
from abcrown_graft.engines.abcrown.locate import Installation
from abcrown_graft.engines.abcrown.prediction import decide_clean
from abcrown_graft.engines.abcrown.run import CHILD, Finding, do_tasks
from abcrown_graft.engines.abcrown.statuses import Outcome, outcome_of
from abcrown_graft.errors import ConfigError
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.batches import OnCounterexample
from abcrown_graft.verify.problem import Batch, VerifySettings
from abcrown_graft.verify.recorder import InstabilityRecorder
from abcrown_graft.verify.runner import Group, Run

METHODS = ("crown", "alpha-crown")
GROUP_SIZE = 256  # images given to one process
# Keys that change no verdict, or that name files whose contents the header states.
_NOT_SETTINGS = (
    *("general.engine", "general.abcrown_path", "general.abcrown_log", "general.progress", "general.results_file"),
    *("general.root_path", "general.save_adv_example", "attack.cex_path", "model.name", "model.path", "data."),
    *("graft.", "instability."),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AbcrownEngine:
    """α,β-CROWN in a process of its own; see `Engine`.

    An image that violates its property as it is never gets to α,β-CROWN. Where that does not start, `decide` raises an
    EngineError; what it had decided before is kept.

    Attributes:
        found: where α,β-CROWN is.
        device: of the original model.
        recorder: counts the instability that α,β-CROWN tells of, or None.
        log: receives what it prints.
        child: the command that does a job.
    """

    config: Config
    found: Installation
    device: str
    recorder: InstabilityRecorder | None
    log: Path
    child: Sequence[str] = CHILD

    @property
    def name(self) -> str:
        """The engine, its versions, device and precision, in words."""
        versions = f"α,β-CROWN {self.found.verifier.version}, auto_LiRPA {self.found.lirpa.version}"
        precision = "float64" if self.config["general.double_fp"] else "float32"
        return f"abcrown ({versions}, {self.device}, {precision}; its output: {self.log.resolve()})"

    @property
    def group_size(self) -> int:
        """What one process is given."""
        return GROUP_SIZE

    def decide(self, group: Group, on_counterexample: OnCounterexample | None) -> Generator[InstanceResult, None, None]:
        """See `Engine`; every case is an image."""
        batch = Batch(group.subject, VerifySettings(double=self.config["general.double_fp"]), group.cases)
        decide_clean(batch, self.config["solver.batch_size"])
        tasks = [task for k in range(len(batch.cases)) if (task := self._task(batch, k)) is not None]
        given = {task.row for task in tasks}
        with closing(self._findings(batch, tasks)) as findings:
            for k in range(len(batch.cases)):
                result = self._result(batch, k, next(findings)) if k in given else batch.result(k)
                if result.verdict is Verdict.FALSIFIED and on_counterexample is not None:
                    on_counterexample(result.index, batch.counterexamples[k])
                yield result

    def _findings(self, batch: Batch, tasks: Sequence[Task]) -> Generator[Finding, None, None]:
        """What α,β-CROWN finds; memory that is cached here would be missing there."""
        if not tasks:
            return
        instances = instance_tensors(self.config, batch)
        if batch.inputs.is_cuda:
            torch.cuda.empty_cache()
        yield from do_tasks(self.config, self.found, instances, tasks, self.log, self.child)

    def _task(self, batch: Batch, k: int) -> Task | None:
        """What α,β-CROWN has to do about an image, None if nothing."""
        verify, count = k not in batch.decisions, is_counted(self.recorder, batch, k)
        if not (verify or count):
            return None
        only_open = self.recorder is not None and self.recorder.population == "bab"
        return Task(batch.cases[k].index, k, verify, count, only_open)

    def _result(self, batch: Batch, k: int, finding: Finding) -> InstanceResult:
        """The result of an image that α,β-CROWN was given; its instability is counted.

        A verdict stands whether or not the instability can be counted; what went wrong there is its `reason`.
        """
        problem = count_instability(self.recorder, finding)
        result = self._verdict(batch, k, finding)
        if problem is None:
            return result
        log.warning("image %d: %s", result.index, problem)
        return replace(result, reason=problem if result.reason is None else f"{result.reason}; {problem}")

    def _verdict(self, batch: Batch, k: int, finding: Finding) -> InstanceResult:
        if not finding.task.verify:
            seconds = finding.report.get("seconds")
            batch.seconds[k] += seconds if isinstance(seconds, (int, float)) else 0.0
            return batch.result(k)
        outcome = outcome_of(finding.report)
        if outcome.verdict is Verdict.FALSIFIED:
            outcome = confirmed(self.config, batch, k, outcome, finding.tensors.get("counterexample"))
        return self._told(batch, k, outcome)

    def _told(self, batch: Batch, k: int, outcome: Outcome) -> InstanceResult:
        """The result of an image that nothing but α,β-CROWN decides."""
        batch.decisions.pop(k, None)
        batch.decide(k, outcome.verdict, outcome.status, outcome.reason)
        batch.seconds[k] += outcome.seconds
        return replace(batch.result(k), lower_bound=outcome.lower_bound)


def prepare_abcrown(config: Config, found: Installation) -> Run:
    """Loads and checks everything a run needs; nothing is written but the head of the results file.

    Raises:
        UnsupportedError: an option that α,β-CROWN would get wrong, see `guards`.
        AbcrownGraftError: something else cannot be used.
    """
    device = inputs.device(config)
    images = configured_images(config, device)
    check_guards(config, Circumstances(any(images.model.grafted.values()), found.lirpa.version or ""))
    own = {"versions": [found.verifier.version, found.lirpa.version], "settings": _settings(config)}
    files = image_outputs(config, images, METHODS, engine="abcrown", **own)
    engine = AbcrownEngine(config, found, device, files.recorder, _log_path(config, files.results.path, files.recorder))
    return Run(images, engine, files.results, files.recorder, files.counterexamples)


def _log_path(config: Config, results: Path, recorder: InstabilityRecorder | None) -> Path:
    chosen = config.path("general.abcrown_log", must_exist=False)
    path = results.with_name(results.name + ".log") if chosen is None else chosen
    if path.resolve() in (results.resolve(), None if recorder is None else recorder.path.resolve()):
        raise ConfigError(f"{config.origin('general.abcrown_log')}: general.abcrown_log: {path} is another file's name")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _settings(config: Config) -> dict[str, Any]:
    """What was set, and may change a verdict."""
    chosen = [key for key in SCHEMA if SCHEMA[key].of_engine and not config.is_default(key)]
    return {key: config[key] for key in chosen if not is_named(key, _NOT_SETTINGS)}
