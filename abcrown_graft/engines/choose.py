"""Which verifier runs a configuration."""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.assembly.options import GeneralOptions
from abcrown_graft.config.config import Config
from abcrown_graft.config.engine import check_engine
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.engines.abcrown.guards import Circumstances, check_guards
from abcrown_graft.engines.abcrown.locate import Installation, search
from abcrown_graft.errors import AbcrownGraftError, EngineError, UnsupportedError

# They say where α,β-CROWN is and what it may be asked, not what to verify: no matter to another engine.
ABOUT_ABCROWN = ("general.abcrown_path", "general.abcrown_log", "general.allow_unsound")


@dataclass(frozen=True)
class Choice:
    """The engine that runs.

    Attributes:
        name: "native" or "abcrown".
        why: of a choice that was made here, one line; None where the user chose, or there was nothing to choose from.
        found: where α,β-CROWN is, if it runs.
    """

    name: str
    why: str | None = None
    found: Installation | None = None

    @property
    def lines(self) -> list[str]:
        """What to tell the user before the run."""
        warning = self.found.warning if self.found is not None else None
        told = [f"engine: {self.name} ({self.why})"] if self.why is not None else []
        return told if warning is None else [*told, f"warning: {warning}"]


def choose_engine(config: Config) -> Choice:
    """The engine that `general.engine` means here, checked to do all that the configuration asks for.

    `auto` takes α,β-CROWN only where somebody installed or named it, it is complete, and it does all of it.

    Raises:
        UnsupportedError: an option that the engine does not implement, or would get wrong.
        EngineError: α,β-CROWN was asked for, or its folder was named, and it is not there or not complete.
    """
    if config.settings(GeneralOptions).engine == "native":
        require_native(config)
        return Choice("native")
    found = search(config.path("general.abcrown_path"))
    if config.settings(GeneralOptions).engine == "abcrown":
        return Choice("abcrown", None, _required(config, found))
    if found.verifier.wrong and config.settings(GeneralOptions).abcrown_path:
        found.require()
    if found.nothing:
        require_native(config)
        return Choice("native")
    obstacle = _obstacle(config, found)
    if obstacle is None:
        return Choice("abcrown", f"auto: α,β-CROWN {found.verifier.version} from {found.verifier.source}", found)
    try:
        require_native(config)
    except UnsupportedError as error:
        raise UnsupportedError(f"{error}; auto does not take α,β-CROWN either: {obstacle}") from None
    return Choice("native", f"auto, not α,β-CROWN: {obstacle}")


def _required(config: Config, found: Installation) -> Installation:
    try:
        found.require()
    except EngineError as error:
        where = f"{config.origin('general.engine')}: general.engine"
        raise EngineError(f"{where}: abcrown is not available: {error}; or use --engine native") from None
    _check_abcrown(config, found)
    return found


def _obstacle(config: Config, found: Installation) -> str | None:
    """Why α,β-CROWN cannot run this configuration."""
    try:
        found.require()
        _check_abcrown(config, found)
    except AbcrownGraftError as error:
        return str(error)
    return None


def _check_abcrown(config: Config, found: Installation) -> None:
    check_engine(config, "abcrown")
    check_guards(config, Circumstances(lirpa=found.lirpa.version or ""))


def require_native(config: Config, prefixes: tuple[str, ...] = ("",)) -> None:
    """Refuses what this package's own verifier does not do.

    Args:
        config: the effective configuration.
        prefixes: of the keys that are looked at.

    Raises:
        UnsupportedError: another engine is asked for, or an option that the native one does not implement.
    """
    if config.settings(GeneralOptions).engine == "abcrown":
        where = f"{config.origin('general.engine')}: general.engine"
        raise UnsupportedError(f"{where}: abcrown is not available in this command; use --engine native")
    ignored = [key for key in SCHEMA if key in ABOUT_ABCROWN or not key.startswith(prefixes)]
    others = {key: SCHEMA[key].default for key in ignored}
    check_engine(Config({**config.values, **others}, config.origins, config.file), "native")
