"""The schema is complete, consistent, and helps with wrong names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from abcrown_graft.config.option import ENGINES, Option
from abcrown_graft.config.schema import GROUPS, SCHEMA, SECTIONS, find_option, suggest
from abcrown_graft.errors import ConfigError

OURS = {
    "general.engine": "auto",
    "general.abcrown_path": None,
    "general.progress": True,
    "data.data_dir": "data",
    "data.split": "test",
    "graft.slope": 0.4,
    "graft.intercept": 0.0,
    "instability.method": "crown",
    "instability.population": "correct",
    "train.weight_decay": 5e-4,
    "train.milestones": (100, 150),
    "mask.preset": "paper",
    "mask.mapping": "norank",
    "tune.slope_lr": 0.01,
    "evaluate.pgd_step": 2.5,
    "pipeline.output": "runs",
}


@pytest.mark.parametrize("option", SCHEMA.values(), ids=lambda option: option.key)
def test_every_option_is_consistent(option: Option) -> None:
    assert option.check(option.default, "default") == option.default
    assert option.help.endswith(".")
    assert option.flag is not None
    assert option.flag.startswith("--")
    assert option.engines <= ENGINES or option.engines == {option.section}
    assert option.supported is None or option.default in option.supported
    for value in option.supported or ():
        assert option.check(value, "supported") == value


def test_flags_are_unique() -> None:
    flags = [option.flag for option in SCHEMA.values()]
    assert len(flags) == len(set(flags))


def test_sections_come_in_their_order() -> None:
    assert list(dict.fromkeys(option.section for option in SCHEMA.values())) == list(SECTIONS)


def test_no_key_is_a_section_too() -> None:
    assert not set(GROUPS) & set(SCHEMA)


@pytest.mark.parametrize(("key", "default"), OURS.items())
def test_options_of_this_package(key: str, default: object) -> None:
    assert SCHEMA[key].default == default


@pytest.mark.parametrize(
    ("key", "default", "flag"),
    [
        ("general.device", "cuda", "--device"),
        ("model.path", None, "--load_model"),
        ("solver.alpha-crown.lr_alpha", 0.1, "--lr_init_alpha"),
        ("general.enable_incomplete_verification", True, "--no_incomplete"),
        ("bab.branching.method", "kfsb", "--branching_method"),
        ("tune.freeze_weights", False, "--freeze_weights"),
        ("mask.ratio", 0.5, "--mask_ratio"),
    ],
)
def test_known_defaults_and_flags(key: str, default: object, flag: str) -> None:
    assert (SCHEMA[key].default, SCHEMA[key].flag) == (default, flag)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("solver.alpha-crown.iterations", "solver.alpha-crown.iteration"),
        ("solver.alpha_crown", "solver.alpha-crown"),
        ("solver.timeout", "bab.timeout"),
        ("batch_size", "solver.batch_size"),
        ("generall", "general"),
        ("model.dataset", "data.dataset"),
        ("zzz.qqq", None),
    ],
)
def test_suggests_what_was_meant(wrong: str, meant: str | None) -> None:
    assert suggest(wrong) == meant


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^f:1: unknown key 'data.strat'; did you mean 'data.start'\?$"):
        find_option("data.strat", "f:1")


def test_importing_the_configuration_imports_nothing_heavy() -> None:
    code = (
        "import sys; from abcrown_graft.config import load, flags, experiments, customized, document;"
        "print({'torch', 'numpy', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "set()"
