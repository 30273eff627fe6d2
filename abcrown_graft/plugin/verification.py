"""Verifying the configured images with α,β-CROWN: the same files, verdicts and summary as with the native engine."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from abcrown_graft.config.config import Config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.data import ImageData
from abcrown_graft.errors import ConfigError, DataError
from abcrown_graft.instability.recorder import InstabilityRecorder
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.pipeline import effort, inputs
from abcrown_graft.pipeline.verification import counterexample_path, instability_recorder, results_path
from abcrown_graft.plugin.guards import Circumstances, check_guards
from abcrown_graft.plugin.instances import instance_tensors, pixels
from abcrown_graft.plugin.job import Task, is_named
from abcrown_graft.plugin.locate import Search
from abcrown_graft.plugin.prediction import predict
from abcrown_graft.plugin.run import CHILD, Finding, do_tasks
from abcrown_graft.plugin.statuses import Outcome, failed, outcome_of
from abcrown_graft.specification.robustness import Robustness
from abcrown_graft.verify.complete import failure
from abcrown_graft.verify.counterexample import save_counterexample
from abcrown_graft.verify.memory import is_out_of_memory
from abcrown_graft.verify.points import fools_alone, inside_box
from abcrown_graft.verify.problem import Batch, Subject, VerifySettings
from abcrown_graft.verify.results import ResultsFile
from abcrown_graft.verify.stages import clean_prediction
from abcrown_graft.verify.verdict import InstanceResult, Verdict

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
class AbcrownVerification:
    """A verification run by α,β-CROWN that is ready to go; see `pipeline.verification.Verification`.

    Attributes:
        noun, single: what it verifies, for messages, and whether it is just one.
        found: where α,β-CROWN is.
        log: receives what it prints.
        child: the command that does a job.
    """

    noun: ClassVar[str] = "image"
    single: ClassVar[bool] = False

    config: Config
    model: LoadedModel
    data: ImageData
    settings: VerifySettings
    specify: Robustness
    device: str
    indices: list[int]
    results: ResultsFile
    recorder: InstabilityRecorder | None
    found: Search
    log: Path
    child: Sequence[str] = CHILD

    @property
    def todo(self) -> list[int]:
        """The images that an earlier part of the run has not done."""
        return [index for index in self.indices if index not in self.results.done]

    @property
    def engine(self) -> str:
        """What decides, in words."""
        versions = f"α,β-CROWN {self.found.verifier.version}, auto_LiRPA {self.found.lirpa.version}"
        precision = "float64" if self.settings.double else "float32"
        return f"abcrown ({versions}, {self.device}, {precision}; its output: {self.log.resolve()})"

    def run(self) -> Iterator[InstanceResult]:
        """Yields the result of each image that is left to do; each is in the results file by then.

        An image that violates its property as it is never gets to α,β-CROWN.

        Raises:
            EngineError: α,β-CROWN does not start; what it had decided before is kept.
        """
        subject = Subject.prepare(self.model.module, self.model.exact, self.device, self.settings.double)
        todo = self.todo
        with self.results.in_use():
            for begin in range(0, len(todo), PART):
                with closing(self._part(subject, todo[begin : begin + PART])) as results:
                    for result in results:
                        self.results.append(result)
                        yield result
            if self.recorder is not None and not self.recorder.dump.n:
                self.recorder.dump.save(self.recorder.path)  # that no image counts is a finding too
            self.results.complete()

    def _part(self, subject: Subject, chosen: list[int]) -> Iterator[InstanceResult]:
        images, labels = (values[chosen].to(self.device) for values in (self.data.images, self.data.labels))
        batch = Batch(subject, self.settings, images, labels, chosen, self.specify)
        self._predict(batch)
        tasks = [task for k in range(len(chosen)) if (task := self._task(batch, k)) is not None]
        given = {task.row for task in tasks}
        with closing(self._findings(batch, tasks)) as findings:
            for k in range(len(chosen)):
                result = self._result(batch, k, next(findings)) if k in given else batch.result(k)
                if result.verdict is Verdict.FALSIFIED and self.config["general.save_adv_example"]:
                    self._save_counterexample(batch, k)
                yield result

    def _predict(self, batch: Batch) -> None:
        """Decides the images that violate their property as they are, and those that the model fails on."""
        with batch.shared_time():
            prediction = predict(batch.subject.module, batch.images, self.config["solver.batch_size"])
            batch.outputs = prediction.outputs
            for k, error in prediction.failures.items():
                verdict = Verdict.OUT_OF_MEMORY if is_out_of_memory(error) else Verdict.ERROR
                batch.decide(k, verdict, str(verdict), failure(error))
        if batch.open():
            clean_prediction(batch)
        batch.predicted[list(prediction.failures)] = -1

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
        verify, count = k not in batch.decisions, self._counts(batch, k)
        if not (verify or count):
            return None
        only_open = self.recorder is not None and self.recorder.population == "bab"
        return Task(int(batch.indices[k]), k, verify, count, only_open)

    def _counts(self, batch: Batch, k: int) -> bool:
        """Whether the image is of the population, as far as that is known before it is bounded."""
        decided = batch.decisions.get(k)
        if self.recorder is None or self.recorder.has(int(batch.indices[k])):
            return False
        if decided is not None and decided.verdict in (Verdict.ERROR, Verdict.OUT_OF_MEMORY):
            return False
        correct = bool(batch.predicted[k] == batch.labels[k])
        return {"all": True, "correct": correct, "bab": decided is None}[self.recorder.population]

    def _result(self, batch: Batch, k: int, finding: Finding) -> InstanceResult:
        """The result of an image that α,β-CROWN was given; its instability is counted.

        A verdict stands whether or not the instability can be counted; what went wrong there is its `reason`.
        """
        problem = self._count(finding)
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
            outcome = self._confirmed(batch, k, outcome, finding.tensors.get("counterexample"))
        return self._told(batch, k, outcome)

    def _told(self, batch: Batch, k: int, outcome: Outcome) -> InstanceResult:
        """The result of an image that nothing but α,β-CROWN decides."""
        batch.decisions.pop(k, None)
        batch.decide(k, outcome.verdict, outcome.status, outcome.reason)
        batch.seconds[k] += outcome.seconds
        return replace(batch.result(k), lower_bound=outcome.lower_bound)

    def _count(self, finding: Finding) -> str | None:
        """Adds an image's instability to the dump; what went wrong, if it cannot be."""
        task, report = finding.task, finding.report
        if "error" in report:
            why = f"out of memory: {report['error']}" if report.get("out_of_memory") is True else report["error"]
            return None if task.verify else f"its instability could not be counted: {why}"
        flags = {name[len("unstable/") :]: t for name, t in finding.tensors.items() if name.startswith("unstable/")}
        if self.recorder is None or not task.count or (task.only_open and not flags):
            return None
        try:
            sites = self.recorder.dump.model.sites
            self.recorder.add([task.index], {site: flags[site].reshape(1, *shape) for site, shape in sites.items()})
        except (KeyError, RuntimeError, DataError) as error:
            return f"its instability could not be counted: {type(error).__name__}: {error}"
        return None

    def _confirmed(self, batch: Batch, k: int, outcome: Outcome, example: Tensor | None) -> Outcome:
        """`falsified` if the original model agrees about the counterexample inside the box, else `error`."""
        if example is None or example.numel() != batch.images[k].numel():
            return failed(f"α,β-CROWN says {outcome.status!r} without a counterexample", outcome.seconds)
        values = example.reshape(1, *batch.images.shape[1:]).to(batch.images.device)
        point = inside_box(batch, [k], pixels(self.config, values))[0]
        try:
            with torch.no_grad():
                margin = float(batch.specification[k : k + 1].margins(batch.subject.module(point.unsqueeze(0)))[0])
            fooled = fools_alone(batch, k, point)
        except Exception as error:
            reason = f"the counterexample of {outcome.status!r} could not be checked: {failure(error)}"
            return failed(reason, outcome.seconds, is_out_of_memory(error))
        if not fooled:
            said = f"α,β-CROWN says {outcome.status!r}, but its counterexample is none of the original model"
            return failed(f"{said} (smallest margin {margin:.3g})", outcome.seconds)
        batch.counterexamples[k] = point
        batch.margin[k] = min(batch.margin.get(k, math.inf), margin)
        return outcome

    def _save_counterexample(self, batch: Batch, k: int) -> None:
        point = batch.counterexamples[k]
        with torch.no_grad():
            output = batch.subject.module(point.unsqueeze(0))[0]
        save_counterexample(counterexample_path(self.config), int(batch.indices[k]), point, output)


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
    counterexample_path(config)
    path = results_path(config, recorder)
    kind, double = config["specification.robustness_type"], config["general.double_fp"]
    settings = VerifySettings(effort.radius(config), kind, double=double)
    results = ResultsFile(path, _run_header(config, model, data, found, indices))
    log = _log_path(config, path, recorder)
    return AbcrownVerification(config, model, data, settings, specify, device, indices, results, recorder, found, log)


def _log_path(config: Config, results: Path, recorder: InstabilityRecorder | None) -> Path:
    chosen = config.path("general.abcrown_log", must_exist=False)
    path = results.with_name(results.name + ".log") if chosen is None else chosen
    if path.resolve() in (results.resolve(), None if recorder is None else recorder.path.resolve()):
        raise ConfigError(f"{config.origin('general.abcrown_log')}: general.abcrown_log: {path} is another file's name")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _run_header(
    config: Config, model: LoadedModel, data: ImageData, found: Search, indices: list[int]
) -> dict[str, Any]:
    """What makes two runs the same run."""
    chosen = [key for key in SCHEMA if SCHEMA[key].of_engine and not config.is_default(key)]
    return {
        "engine": "abcrown",
        "versions": [found.verifier.version, found.lirpa.version],
        "model": config["model.name"],
        "architecture": model.identity.architecture,
        "weights": model.identity.weights,
        "dataset": data.name,
        "split": data.split,
        "data": data.fingerprint,
        "mean": config["data.mean"],
        "std": config["data.std"],
        "settings": {key: config[key] for key in chosen if not is_named(key, _NOT_SETTINGS)},
        "indices": indices,
    }
