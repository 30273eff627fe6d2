"""The run that a configuration asks for, by the engine that was chosen."""

from __future__ import annotations

from abcrown_graft.config.config import Config
from abcrown_graft.engines.choose import Choice
from abcrown_graft.verify.runner import Run


def prepare_run(config: Config, engine: Choice) -> Run:
    """See `prepare_native` and `prepare_abcrown`."""
    if engine.found is None:
        from abcrown_graft.engines.native.engine import prepare_native

        return prepare_native(config)
    from abcrown_graft.engines.abcrown.engine import prepare_abcrown

    return prepare_abcrown(config, engine.found)
