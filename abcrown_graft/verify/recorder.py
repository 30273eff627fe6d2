"""Counts unstable neurons while a verification run goes on.

The population says which images count: `correct` ones (correctly classified, attacked or not),
`all`, or only those that the bounds leave open and branch and bound would get (`bab`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from abcrown_graft.bounds.propagate import METHODS
from abcrown_graft.errors import ConfigError, OutputError, SettingsDifferError, UnsupportedError
from abcrown_graft.files import check_writable
from abcrown_graft.masks.dump import InstabilityDump, add, empty, load
from abcrown_graft.masks.identity import ModelIdentity, explain_difference
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.search.unstable import unstable_by_alpha
from abcrown_graft.verify.problem import Batch

NATIVE_METHODS = (*METHODS, "alpha-crown")
POPULATIONS = ("correct", "all", "bab")


class InstabilityRecorder:
    """A stage of the cascade that adds each batch to a dump and writes it.

    Attributes:
        dump: what has been counted.
        after_bounds: whether the stage needs the outcome of the incomplete bounds.
    """

    def __init__(
        self,
        path: Path,
        model: ModelIdentity,
        grafted: Mapping[str, int],
        settings: Mapping[str, Any],
        method: str,
        population: str,
        methods: Sequence[str] = NATIVE_METHODS,
        alpha: AdamSettings | None = None,
    ) -> None:
        """Starts a dump, or goes on with the one at `path` if that is of the same model and settings.

        Args:
            path: of the dump.
            model, grafted, settings: see `InstabilityDump`.
            method, population: `instability.method` and `instability.population`.
            methods: those of the engine that computes the bounds; by default the native one's.
            alpha: effort of the method "alpha-crown"; None takes `AdamSettings`' defaults.

        Raises:
            ConfigError: an unknown population.
            UnsupportedError: a method that the engine does not have.
            SettingsDifferError: the file at `path` is of another model or was made with other settings.
            FileFormatError: the file at `path` is no dump, or a damaged one.
            OutputError: nothing can be written to `path`.
        """
        if population not in POPULATIONS:
            raise ConfigError(f"instability.population: unknown population {population!r}; known: {POPULATIONS}")
        if method not in methods:
            raise UnsupportedError(
                f"instability.method: {method!r} is not implemented by this engine; known: {', '.join(methods)}"
            )
        check_writable(path)
        self.path, self.method, self.population, self.alpha = path, method, population, alpha or AdamSettings()
        self.after_bounds = population == "bab"
        fresh = empty(model, grafted, {**settings, "method": method, "population": population})
        self.dump = _resumed(path, fresh) if path.exists() else fresh
        self._seen: set[int] = set(self.dump.indices.tolist())

    def __call__(self, batch: Batch) -> None:
        """Counts the images of the batch that belong to the population and are not counted yet."""
        self.add(*self.counted(batch))

    def counted(self, batch: Batch) -> tuple[list[int], dict[str, Tensor]]:
        """The images that belong to the population and are not counted yet: numbers, and see `dump.add`."""
        with batch.shared_time() as open_positions:
            positions = [k for k in self._members(batch, open_positions) if not self.has(batch.cases[k].index)]
            unstable = self._unstable(batch, positions, open_positions) if positions else {}
        return [batch.cases[k].index for k in positions], unstable

    def _unstable(self, batch: Batch, positions: list[int], open_positions: list[int]) -> dict[str, Tensor]:
        # Bounds are computed for the open instances too, so that the next stage finds them there.
        bounded = sorted({*positions, *open_positions})
        rows = torch.tensor([bounded.index(k) for k in positions])
        if self.method == "alpha-crown":
            bounds, settings = batch.bounds(bounded, "crown", rigorous=True), batch.settings
            dtype = torch.float64 if settings.double else torch.float32
            return unstable_by_alpha(bounds.select(rows), self.alpha, settings.batch_size, dtype)
        bounds = batch.bounds(bounded, self.method)
        return {site: bounds.unstable(site)[rows].cpu() for site in self.dump.model.sites}

    def has(self, index: int) -> bool:
        """Whether the image of this number is counted."""
        return index in self._seen

    def _members(self, batch: Batch, open_positions: list[int]) -> list[int]:
        if self.population == "all":
            return list(range(len(batch.cases)))
        if self.population == "bab":
            return open_positions
        return [k for k in range(len(batch.cases)) if batch.is_right(k)]

    def add(self, indices: list[int], unstable: Mapping[str, Any]) -> None:
        """Counts images, see `dump.add`, and writes the dump; nothing happens if there are none.

        Raises:
            OutputError: it cannot be written; then the images are not counted.
        """
        if not indices:
            return
        counted = add(self.dump, indices, unstable)
        try:
            counted.save(self.path)
        except OSError as error:
            raise OutputError(f"{self.path}: the dump cannot be written ({error.strerror})") from None
        self.dump = counted
        self._seen.update(indices)


class HeldBack:
    """A stage of the cascade that counts an image only once it is known that it reaches branch and bound.

    What the recorder finds after the first bounds waits for `settle`; α-CROWN may yet decide the image.
    """

    after_bounds = True

    def __init__(self, recorder: InstabilityRecorder) -> None:
        self._recorder = recorder
        self._waiting: dict[int, dict[str, Tensor]] = {}

    def __call__(self, batch: Batch) -> None:
        """Holds the images of the population that are not counted yet."""
        indices, unstable = self._recorder.counted(batch)
        for row, index in enumerate(indices):
            self._waiting[index] = {site: flags[row : row + 1] for site, flags in unstable.items()}

    def settle(self, index: int, counts: bool) -> None:
        """Counts the image of this number, or forgets it; one that is not held is passed over."""
        unstable = self._waiting.pop(index, None)
        if counts and unstable is not None:
            self._recorder.add([index], unstable)


def _resumed(path: Path, fresh: InstabilityDump) -> InstabilityDump:
    found = load(path)
    if found.model != fresh.model:
        difference = explain_difference(fresh.model, found.model)
        raise SettingsDifferError(f"{path}: a dump of another model ({difference}); name another instability.dump")
    for key in sorted({*found.settings, *fresh.settings}):
        old, new = found.settings.get(key), fresh.settings.get(key)
        if old != new:
            raise SettingsDifferError(
                f"{path}: made with {key} = {old!r}, this run has {new!r}; name another instability.dump"
            )
    if found.grafted != fresh.grafted:
        raise SettingsDifferError(f"{path}: made with another mask; name another instability.dump")
    return found
