"""The configured VNN-LIB properties as instances of a run: one, or a list of them."""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from abcrown_graft.assembly import inputs
from abcrown_graft.assembly.instances import Row, check_network, configured_rows, is_single
from abcrown_graft.assembly.open_networks import OpenNetwork, open_model, open_onnx, read_case
from abcrown_graft.assembly.options import GeneralOptions, ModelOptions
from abcrown_graft.config.config import Config
from abcrown_graft.errors import AbcrownGraftError, FileFormatError
from abcrown_graft.files import sha256
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.verdict import InstanceResult
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.failure import failed
from abcrown_graft.verify.runner import Group

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PropertyInstances:
    """Rows of networks and properties that are opened when their turn comes; see `Instances`.

    Attributes:
        rows: those that are chosen.
        model: the torch model, where the rows name no network.
        single: there is one instance: what is wrong with its files is the user's error, not one instance's.
        device, double: see `Subject.prepare`.
    """

    noun: ClassVar[str] = "instance"

    config: Config
    rows: list[Row]
    model: LoadedModel | None
    single: bool
    device: str
    double: bool

    @property
    def indices(self) -> list[int]:
        """The numbers of the rows, in order."""
        return [row.index for row in self.rows]

    def groups(self, todo: Sequence[int], size: int) -> Iterator[Group | InstanceResult]:
        """See `Instances`; neighbours of one network and one time limit are a group.

        A row whose files cannot be used is `error`.

        Raises:
            AbcrownGraftError: the files of a single instance cannot be used.
        """
        wanted = set(todo)
        chosen = [row for row in self.rows if row.index in wanted]
        for _, rows in itertools.groupby(chosen, lambda row: row.onnx):
            yield from self._of_one_network(list(rows), size)

    def _of_one_network(self, rows: list[Row], size: int) -> Iterator[Group | InstanceResult]:
        started = time.perf_counter()
        network = self._attempt(partial(self._open, rows[0]))
        share = (time.perf_counter() - started) / len(rows)
        for batch in in_batches(rows, size):
            if isinstance(network, Exception):
                yield from (_failed(row, network, share) for row in batch)
            else:
                yield from self._group(network, batch, share)

    def _group(self, network: OpenNetwork, rows: Sequence[Row], spent: float) -> Iterator[Group | InstanceResult]:
        cases: list[Case] = []
        for row in rows:
            started = time.perf_counter()
            case = self._attempt(partial(read_case, network, row.index, row.vnnlib, spent))
            if isinstance(case, Exception):
                yield _failed(row, case, spent + time.perf_counter() - started)
            else:
                cases.append(case)
        if cases:
            yield Group(network.subject, cases, rows[0].timeout)

    def _open(self, row: Row) -> OpenNetwork:
        if row.onnx is not None:
            network = open_onnx(row.onnx, self.device, self.double)
        else:
            assert self.model is not None
            network = open_model(str(self.config.settings(ModelOptions).name), self.model, self.device, self.double)
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

    def header(self, *, engine: str, settings: dict[str, Any], **own: Any) -> dict[str, Any]:
        """What makes two runs the same run; the time is each row's own.

        Args:
            engine, settings, own: what does, for one engine.
        """
        weights = None if self.model is None else [self.model.identity.architecture, self.model.identity.weights]
        return {
            "engine": engine,
            **own,
            "model": weights,
            "instances": [
                [row.index, None if row.onnx is None else str(row.onnx), str(row.vnnlib), row.timeout]
                for row in self.rows
            ],
            "files": _fingerprint({path for row in self.rows for path in (row.onnx, row.vnnlib) if path is not None}),
            "settings": {name: value for name, value in settings.items() if name != "timeout"},
        }


def in_batches(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Neighbours of one time limit, at most so many."""
    for _, alike in itertools.groupby(rows, lambda row: row.timeout):
        while batch := list(itertools.islice(alike, size)):
            yield batch


def configured_properties(config: Config, device: str) -> PropertyInstances:
    """Finds out what is to be done; of the files that rows name none is opened.

    Raises:
        ConfigError: see `configured_rows`, or no row is chosen.
        FileFormatError: the list cannot be read.
    """
    rows, single = configured_rows(config), is_single(config)
    if not single:
        chosen = inputs.instance_indices(config, len(rows), "instance", "the list")
        rows = [rows[index] for index in chosen]
    model = inputs.configured_model(config) if rows[0].onnx is None else None
    return PropertyInstances(config, rows, model, single, device, config.settings(GeneralOptions).double_fp)


def _failed(row: Row, error: Exception, seconds: float) -> InstanceResult:
    told = " ".join(str(error).split()) if isinstance(error, AbcrownGraftError) else None
    return failed(error, row.index, seconds, reason=told)


def _fingerprint(paths: set[Path]) -> str:
    """SHA-256 of the contents; a file that is missing, or none, counts too."""
    found = hashlib.sha256()
    for path in sorted(paths):
        try:
            found.update(bytes.fromhex(sha256(path)))
        except FileFormatError:
            found.update(b"missing")
    return found.hexdigest()
