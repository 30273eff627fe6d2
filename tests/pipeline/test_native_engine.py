"""What the native engine does not do is refused before anything else happens."""

from __future__ import annotations

import re

import pytest

from abcrown_graft.config.load import load_config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.engines.choose import require_native
from abcrown_graft.errors import UnsupportedError


@pytest.mark.parametrize("engine", ("auto", "native"))
def test_of_a_configuration_that_changes_one_option_nothing_else_is_refused(engine: str) -> None:
    """The defaults are fine: where one option is changed, that one is named, and without its section none is."""
    config = load_config(None, {"general.engine": engine, "specification.norm": 2.0})
    with pytest.raises(UnsupportedError) as refused:
        require_native(config)
    assert re.findall(r"\w+(?:\.\w+)+ = ", str(refused.value)) == ["specification.norm = "]
    require_native(config.replace({"specification.norm": SCHEMA["specification.norm"].default}, "a test"))


def test_keys_that_a_stage_does_not_read_may_be_anything() -> None:
    config = load_config(None, {"bab.branching.method": "fsb", "solver.mip.mip_solver": "scip"})
    require_native(config, ("specification.",))
    with pytest.raises(UnsupportedError, match=r"solver\.mip\.mip_solver = 'scip' is not implemented"):
        require_native(config, ("specification.", "solver.mip."))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"general.engine": "abcrown"}, "flag --engine: general.engine: abcrown is not available"),
        (
            {"general.complete_verifier": "bab-refine"},
            "general.complete_verifier = 'bab-refine' is not implemented by the native engine",
        ),
        ({"bab.branching.method": "fsb"}, "bab.branching.method = 'fsb' is not implemented by the native engine"),
        ({"specification.norm": 2.0}, "specification.norm = 2.0 is not implemented"),
    ],
)
def test_what_is_not_there_is_named(values: dict[str, object], told: str) -> None:
    with pytest.raises(UnsupportedError, match=told):
        require_native(load_config(None, values))
