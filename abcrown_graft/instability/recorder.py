"""Counts unstable neurons while a verification run goes on.

The population says which images count: `correct` ones (correctly classified, attacked or not),
`all`, or only those that the bounds leave open and branch and bound would get (`bab`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abcrown_graft.bounds.propagate import METHODS
from abcrown_graft.errors import ConfigError, SettingsDifferError, UnsupportedError
from abcrown_graft.graft.identity import ModelIdentity, explain_difference
from abcrown_graft.instability.dump import InstabilityDump, add, empty, load
from abcrown_graft.verify.problem import Batch

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
        methods: Sequence[str] = METHODS,
    ) -> None:
        """Starts a dump, or goes on with the one at `path` if that is of the same model and settings.

        Args:
            path: of the dump.
            model, grafted, settings: see `InstabilityDump`.
            method, population: `instability.method` and `instability.population`.
            methods: those of the engine that computes the bounds; by default those of `bound_network`.

        Raises:
            ConfigError: an unknown population.
            UnsupportedError: a method that the engine does not have.
            SettingsDifferError: the file at `path` is of another model or was made with other settings.
            FileFormatError: the file at `path` is no dump, or a damaged one.
        """
        if population not in POPULATIONS:
            raise ConfigError(f"instability.population: unknown population {population!r}; known: {POPULATIONS}")
        if method not in methods:
            raise UnsupportedError(
                f"instability.method: {method!r} is not implemented by this engine; known: {', '.join(methods)}"
            )
        self.path, self.method, self.population = path, method, population
        self.after_bounds = population == "bab"
        fresh = empty(model, grafted, {**settings, "method": method, "population": population})
        self.dump = _resumed(path, fresh) if path.exists() else fresh
        self._seen: set[int] = set(self.dump.indices.tolist())

    def __call__(self, batch: Batch) -> None:
        """Counts the images of the batch that belong to the population and are not counted yet."""
        with batch.shared_time() as open_positions:
            positions = [k for k in self._members(batch, open_positions) if not self.has(int(batch.indices[k]))]
            if not positions:
                return
            # Bounds are computed for the open instances too, so that the next stage finds them there.
            bounded = sorted({*positions, *open_positions})
            bounds = batch.bounds(bounded, self.method)
            rows = [bounded.index(k) for k in positions]
            unstable = {site: bounds.unstable(site)[rows].cpu() for site in self.dump.model.sites}
        self.add([int(batch.indices[k]) for k in positions], unstable)

    def has(self, index: int) -> bool:
        """Whether the image of this number is counted."""
        return index in self._seen

    def _members(self, batch: Batch, open_positions: list[int]) -> list[int]:
        if self.population == "all":
            return list(range(len(batch.images)))
        if self.population == "bab":
            return open_positions
        return (batch.predicted == batch.labels).nonzero().flatten().tolist()

    def add(self, indices: list[int], unstable: Mapping[str, Any]) -> None:
        """Counts images, see `dump.add`, and writes the dump."""
        self.dump = add(self.dump, indices, unstable)
        self._seen.update(indices)
        self.dump.save(self.path)


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
