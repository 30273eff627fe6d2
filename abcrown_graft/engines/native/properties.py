"""Verifying networks against VNN-LIB properties: one instance, or a list of them."""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from abcrown_graft.assembly import effort, inputs
from abcrown_graft.assembly.options import GeneralOptions, ModelOptions
from abcrown_graft.assembly.rows import Row, check_network, configured_rows, is_single
from abcrown_graft.assembly.subjects import OpenNetwork, open_model, open_onnx, read_case
from abcrown_graft.config.config import Config
from abcrown_graft.engines.native.verification import (
    checked_counterexample_path,
    counterexample_path,
    native_engine,
    results_path,
)
from abcrown_graft.errors import AbcrownGraftError
from abcrown_graft.files import write_atomically
from abcrown_graft.formats.counterexample import counterexample_text, save_counterexample
from abcrown_graft.formats.results import ResultsFile
from abcrown_graft.formats.vnncomp import VnncompFile
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.complete import failure
from abcrown_graft.verify.memory import is_out_of_memory
from abcrown_graft.verify.problem import VerifySettings
from abcrown_graft.verify.properties import NO_LABEL, Case, verify_properties

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PropertyVerification:
    """A run over VNN-LIB properties that is ready to go; see `pipeline.verification.Verification`.

    Attributes:
        noun: what it verifies, for messages.
        rows: those that are chosen.
        model: the torch model, where the rows name no network.
        single: there is one instance: what is wrong with its files is the user's error, not one instance's.
        results: VNN-COMP's text for a single instance, otherwise JSON lines.
        recorder: none; a list may have many networks.
    """

    noun: ClassVar[str] = "instance"

    config: Config
    rows: list[Row]
    model: LoadedModel | None
    single: bool
    settings: VerifySettings
    device: str
    results: ResultsFile | VnncompFile
    recorder: None = None

    @property
    def indices(self) -> list[int]:
        """The numbers of the rows, in order."""
        return [row.index for row in self.rows]

    @property
    def todo(self) -> list[Row]:
        """The rows that an earlier part of the run has not done."""
        return [row for row in self.rows if row.index not in self.results.done]

    @property
    def engine(self) -> str:
        """What decides, in words."""
        return native_engine(self.device, self.settings.double)

    def run(self) -> Iterator[InstanceResult]:
        """Yields the result of each row that is left to do; each is in the results file by then.

        Neighbours of one network are read, and go through the cascade, in batches. A row whose files cannot be used is
        `error`, and the others go on.

        Raises:
            AbcrownGraftError: the files of a single instance cannot be used.
        """
        with self.results.in_use():
            for _, rows in itertools.groupby(self.todo, lambda row: row.onnx):
                for result in self._of_one_network(list(rows)):
                    self.results.append(result)
                    yield result
            self.results.complete()

    def _of_one_network(self, rows: list[Row]) -> Iterator[InstanceResult]:
        started = time.perf_counter()
        network = self._attempt(partial(self._open, rows[0]))
        share = (time.perf_counter() - started) / len(rows)
        for batch in in_batches(rows, self.settings.batch_size):
            if isinstance(network, Exception):
                yield from (_failed(row, network, share) for row in batch)
            else:
                yield from self._batch(network, batch, share)

    def _batch(self, network: OpenNetwork, rows: Sequence[Row], spent: float) -> Iterator[InstanceResult]:
        cases: list[Case] = []
        for row in rows:
            started = time.perf_counter()
            case = self._attempt(partial(read_case, network, row.index, row.vnnlib, spent))
            if isinstance(case, Exception):
                yield _failed(row, case, spent + time.perf_counter() - started)
            else:
                cases.append(case)
        settings = replace(self.settings, timeout=rows[0].timeout)
        saving = self.config.settings(GeneralOptions).save_adv_example
        save = partial(self._save_counterexample, network) if saving else None
        yield from verify_properties(network.subject, cases, settings, network.dtype, save)

    def _open(self, row: Row) -> OpenNetwork:
        double = self.settings.double
        if row.onnx is not None:
            network = open_onnx(row.onnx, self.device, double)
        else:
            assert self.model is not None
            network = open_model(self.config.settings(ModelOptions).name, self.model, self.device, double)
        check_network(self.config, network.name, network.inputs, network.outputs)
        return network

    def _attempt(self, work: Callable[[], T]) -> T | Exception:
        """What the work gives, or what goes wrong, which is the user's error if there is one instance only."""
        try:
            return work()
        except AbcrownGraftError as error:
            if self.single:
                raise
            return error
        except Exception as error:
            log.debug("an instance failed", exc_info=True)
            return error

    def _save_counterexample(self, network: OpenNetwork, index: int, point: Tensor) -> None:
        with torch.no_grad():
            output = network.subject.module(point.unsqueeze(0))[0].to(point.dtype)
        path = counterexample_path(from_here(self.config))
        if isinstance(self.results, VnncompFile):
            self.results.save_counterexample(point, output)
            write_atomically(path, counterexample_text(point, output).encode())
        else:
            save_counterexample(path, index, point, output)


def in_batches(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Neighbours of one time limit, at most so many."""
    for _, alike in itertools.groupby(rows, lambda row: row.timeout):
        while batch := list(itertools.islice(alike, size)):
            yield batch


def _failed(row: Row, error: Exception, seconds: float) -> InstanceResult:
    verdict = Verdict.OUT_OF_MEMORY if is_out_of_memory(error) else Verdict.ERROR
    reason = " ".join(str(error).split()) if isinstance(error, AbcrownGraftError) else failure(error)
    return InstanceResult(row.index, NO_LABEL, NO_LABEL, verdict, str(verdict), seconds, reason=reason)


def prepare_properties(config: Config) -> PropertyVerification:
    """Finds out what is to be done; nothing is written but the head of a list's results file.

    Raises:
        ConfigError: see `configured_rows`, or no row is chosen.
        FileFormatError: the list cannot be read, or somebody else's file is where the results go.
    """
    device, settings = inputs.device(config), effort.verify_settings(config)
    rows, single = configured_rows(config), is_single(config)
    if not single:
        chosen = inputs.instance_indices(config, len(rows), "instance", "the list")
        rows = [rows[index] for index in chosen]
    model = inputs.configured_model(config) if rows[0].onnx is None else None
    checked_counterexample_path(from_here(config))
    path = results_path(from_here(config), None)
    results = VnncompFile(path) if single else ResultsFile(path, _run_header(rows, model, settings))
    torch.manual_seed(settings.seed)
    return PropertyVerification(config, rows, model, single, settings, device, results)


def from_here(config: Config) -> Config:
    """Files that are written start from the current folder: `general.root_path` is a benchmark's."""
    return config.replace({"general.root_path": ""})


def _run_header(rows: Sequence[Row], model: LoadedModel | None, settings: VerifySettings) -> dict[str, Any]:
    """What makes two runs the same run."""
    efforts = asdict(settings)
    del efforts["timeout"]
    weights = None if model is None else [model.identity.architecture, model.identity.weights]
    return {
        "engine": "native",
        "model": weights,
        "instances": [
            [row.index, None if row.onnx is None else str(row.onnx), str(row.vnnlib), row.timeout] for row in rows
        ],
        "files": _fingerprint({path for row in rows for path in (row.onnx, row.vnnlib) if path is not None}),
        "settings": efforts,
    }


def _fingerprint(paths: set[Path]) -> str:
    """SHA-256 of the contents; a file that is missing counts too."""
    found = hashlib.sha256()
    for path in sorted(paths):
        try:
            found.update(hashlib.sha256(path.read_bytes()).digest())
        except (OSError, ValueError):
            found.update(b"missing")
    return found.hexdigest()
