"""Verifying the configured images with α,β-CROWN: the same files, verdicts and summary as with the native engine."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from abcrown_graft.assembly import effort, inputs
from abcrown_graft.assembly.options import GeneralOptions
from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.engines.abcrown.confirm import confirmed
from abcrown_graft.engines.abcrown.counting import count_instability, is_counted
from abcrown_graft.engines.abcrown.guards import Circumstances, check_guards
from abcrown_graft.engines.abcrown.instances import instance_tensors
from abcrown_graft.engines.abcrown.job import Task, is_named
from abcrown_graft.engines.abcrown.locate import Search
from abcrown_graft.engines.abcrown.prediction import decide_clean
from abcrown_graft.engines.abcrown.run import CHILD, Finding, do_tasks
from abcrown_graft.engines.abcrown.statuses import Outcome, outcome_of
from abcrown_graft.engines.native.verification import (
    Verification,
    checked_counterexample_path,
    instability_recorder,
    results_path,
    run_header,
)
from abcrown_graft.errors import ConfigError
from abcrown_graft.formats.results import ResultsFile
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.options import SolverOptions, SpecificationOptions
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings
from abcrown_graft.verify.recorder import InstabilityRecorder

METHODS = ("crown", "alpha-crown")
PART = 256  # images given to one process
# What does not change a verdict, or is in the header as what was read.
_NOT_SETTINGS = (
    *("general.engine", "general.abcrown_path", "general.abcrown_log", "general.progress", "general.results_file"),
    *("general.root_path", "general.save_adv_example", "attack.cex_path", "model.name", "model.path", "data."),
    *("graft.", "instability."),
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AbcrownVerification(Verification):
    """A verification run by α,β-CROWN that is ready to go.

    An image that violates its property as it is never gets to α,β-CROWN. Where that does not start, `run` raises an
    EngineError; what it had decided before is kept.

    Attributes:
        found: where α,β-CROWN is.
        log: receives what it prints.
        child: the command that does a job.
    """

    found: Search
    log: Path
    child: Sequence[str] = CHILD

    @property
    def engine(self) -> str:
        """What decides, in words."""
        versions = f"α,β-CROWN {self.found.verifier.version}, auto_LiRPA {self.found.lirpa.version}"
        precision = "float64" if self.settings.double else "float32"
        return f"abcrown ({versions}, {self.device}, {precision}; its output: {self.log.resolve()})"

    def _results(self, chosen: list[int]) -> Iterator[InstanceResult]:
        subject = self._subject()
        for begin in range(0, len(chosen), PART):
            with closing(self._part(subject, chosen[begin : begin + PART])) as results:
                yield from results

    def _part(self, subject: Subject, chosen: list[int]) -> Iterator[InstanceResult]:
        images, labels = (values[chosen].to(self.device) for values in (self.data.images, self.data.labels))
        batch = Batch(subject, self.settings, images, labels, chosen, self.specify)
        decide_clean(batch, self.config.settings(SolverOptions).batch_size)
        tasks = [task for k in range(len(chosen)) if (task := self._task(batch, k)) is not None]
        given = {task.row for task in tasks}
        with closing(self._findings(batch, tasks)) as findings:
            for k in range(len(chosen)):
                result = self._result(batch, k, next(findings)) if k in given else batch.result(k)
                if result.verdict is Verdict.FALSIFIED and self.config.settings(GeneralOptions).save_adv_example:
                    self._save_counterexample(result.index, batch.counterexamples[k])
                yield result

    def _findings(self, batch: Batch, tasks: Sequence[Task]) -> Iterator[Finding]:
        """What α,β-CROWN finds; memory that is cached here would be missing there."""
        if not tasks:
            return
        instances = instance_tensors(self.config, batch)
        if batch.images.is_cuda:
            torch.cuda.empty_cache()
        yield from do_tasks(self.config, self.found, instances, tasks, self.log, self.child)

    def _task(self, batch: Batch, k: int) -> Task | None:
        """What α,β-CROWN has to do about an image, None if nothing."""
        verify, count = k not in batch.decisions, is_counted(self.recorder, batch, k)
        if not (verify or count):
            return None
        only_open = self.recorder is not None and self.recorder.population == "bab"
        return Task(int(batch.indices[k]), k, verify, count, only_open)

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


def prepare_abcrown(config: Config, found: Search) -> AbcrownVerification:
    """Loads and checks everything a run needs; nothing is written but the head of the results file.

    Raises:
        UnsupportedError: an option that α,β-CROWN would get wrong, see `guards`.
    """
    device = inputs.device(config)
    model = inputs.configured_model(config)
    lirpa = found.lirpa.version or ""
    check_guards(config, Circumstances(any(model.grafted.values()), lirpa))
    data = inputs.images(config)
    inputs.check_fit(data, model, config)
    indices = inputs.instance_indices(config, len(data))
    specify = effort.specification(config, data)
    recorder = instability_recorder(config, model, data, METHODS)
    checked_counterexample_path(config)
    path = results_path(config, recorder)
    kind, double = config.settings(SpecificationOptions).robustness_type, config.settings(GeneralOptions).double_fp
    settings = VerifySettings(effort.radius(config), kind, double=double)
    own = {"versions": [found.verifier.version, found.lirpa.version], "settings": _settings(config)}
    results = ResultsFile(path, run_header(config, model, data, indices, engine="abcrown", **own))
    log = _log_path(config, path, recorder)
    return AbcrownVerification(config, model, data, settings, specify, device, indices, results, recorder, found, log)


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
