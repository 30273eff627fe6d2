"""An engine refuses what it would ignore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abcrown_graft.config import check_engine, load_config
from abcrown_graft.errors import UnsupportedError


def test_defaults_run_on_both_engines() -> None:
    check_engine(load_config(None), "native")
    check_engine(load_config(None), "abcrown")


@pytest.mark.parametrize(
    "flags",
    [
        {"general.complete_verifier": "skip"},
        {"solver.bound_prop_method": "crown"},
        {"solver.alpha-crown.iteration": 100},
        {"instability.method": "interval"},
        {"train.epochs": 3, "mask.ratio": 0.8},
        {"attack.pgd_order": "skip", "attack.pgd_alpha": 0.01},
    ],
)
def test_native_takes(flags: dict[str, Any]) -> None:
    check_engine(load_config(None, flags), "native")


def test_a_key_that_only_abcrown_knows(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("solver:\n  mip:\n    parallel_solvers: 4\n")
    config = load_config(path)
    with pytest.raises(UnsupportedError) as error:
        check_engine(config, "native")
    assert str(error.value) == (
        f"{path}:3: solver.mip.parallel_solvers = 4 is not implemented by the native engine; "
        "remove it or run with --engine abcrown"
    )
    check_engine(config, "abcrown")


def test_a_value_that_the_native_engine_lacks_and_the_number_of_others() -> None:
    config = load_config(None, {"attack.pgd_order": "middle", "specification.norm": 2, "general.conv_mode": "matrix"})
    with pytest.raises(UnsupportedError) as error:
        check_engine(config, "native")
    assert str(error.value).startswith("flag --conv_mode: general.conv_mode = 'matrix' is not implemented")
    assert str(error.value).endswith("(2 more like it)")
    with pytest.raises(UnsupportedError, match=r"= 'middle' .* native engine, which knows before, skip; remove it"):
        check_engine(load_config(None, {"attack.pgd_order": "middle"}), "native")


def test_a_value_that_abcrown_lacks() -> None:
    config = load_config(None, {"bab.branching.method": "smear"})
    check_engine(config, "native")
    with pytest.raises(UnsupportedError, match=r"= 'smear' is not .* abcrown engine, which knows babsr,"):
        check_engine(config, "abcrown")


def test_unknown_engine() -> None:
    with pytest.raises(ValueError, match="unknown engine 'other'"):
        check_engine(load_config(None), "other")
