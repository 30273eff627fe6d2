"""Which verifier runs a configuration."""

from __future__ import annotations

from abcrown_graft.config.config import Config
from abcrown_graft.config.engine import check_engine
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.errors import UnsupportedError


def require_native(config: Config, prefixes: tuple[str, ...] = ("",)) -> None:
    """Refuses what this package's own verifier does not do.

    Args:
        config: the effective configuration.
        prefixes: of the keys that are looked at.

    Raises:
        UnsupportedError: another engine is asked for, or an option that the native one does not implement.
    """
    if config["general.engine"] == "abcrown":
        where = f"{config.origin('general.engine')}: general.engine"
        raise UnsupportedError(f"{where}: abcrown is not available in this version; use --engine native")
    others = {key: option.default for key, option in SCHEMA.items() if not key.startswith(prefixes)}
    check_engine(Config({**config.values, **others}, config.origins, config.file), "native")
