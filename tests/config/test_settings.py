"""Settings declare options once: what the option takes, the class takes, and nothing else."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from abcrown_graft.config import load_config
from abcrown_graft.config.kinds import COUNT, FINITE, FLOAT, INTEGER
from abcrown_graft.config.option import Option
from abcrown_graft.config.schema import DECLARED_IN, SCHEMA
from abcrown_graft.config.settings import SettingError, Settings, linked, stage_option
from abcrown_graft.errors import ConfigError
from abcrown_graft.training.method import METHODS
from abcrown_graft.training.settings import TrainSettings, TuneSettings

NEEDED: dict[str, Any] = {"epsilon": 0.1}


def classes() -> list[type[Settings]]:
    """Every class of settings that a configuration is made into."""
    modules = [importlib.import_module(name) for name in DECLARED_IN]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    kinds = [kind for kind in dict.fromkeys(found) if issubclass(kind, Settings) and kind.keys()]
    return [kind for kind in kinds if kind.__name__ != "AdversarialSettings"] + [METHODS[name] for name in METHODS]


def boundaries(option: Option) -> list[float]:
    """Numbers on and beside the option's bounds."""
    step = 1 if option.kind in (INTEGER, COUNT) else 2**-40
    bounds = [bound for bound in (option.low, option.above, option.high, option.below) if bound is not None]
    return [bound + shift for bound in bounds for shift in (-step, 0, step)] + [0, 1, math.inf, -math.inf, math.nan]


NUMERIC = [
    (kind, name, key)
    for kind in classes()
    for name, key in kind.keys().items()
    if SCHEMA[key].kind in (INTEGER, COUNT, FLOAT, FINITE) and key != "specification.epsilon"
]


def made(kind: type[Settings], **values: Any) -> Settings:
    needs = {name: value for name, value in NEEDED.items() if name in kind.keys()}
    return kind(**{**needs, **values})


def accepts(try_it: Any) -> bool:
    try:
        try_it()
    except SettingError:
        return True  # of the right range, but not beside the other settings
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(("kind", "name", "key"), NUMERIC, ids=lambda value: getattr(value, "__name__", str(value)))
def test_option_and_settings_agree_on_the_range(kind: type[Settings], name: str, key: str) -> None:
    for value in boundaries(SCHEMA[key]):
        by_option = accepts(lambda value=value: SCHEMA[key].check(value, "here"))
        assert by_option == accepts(lambda value=value: made(kind, **{name: value})), value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.epochs", 0),
        ("train.lr", 0),
        ("train.validation", 0),
        ("train.lr_factor", 0),
        ("train.lr_factor", 2),
        ("train.attack_step", 0),
        ("train.momentum", 1.0),
        ("tune.epochs", 0),
        ("tune.lr", 0),
        ("tune.slope_lr", 0),
        ("tune.momentum", 1.0),
        ("significance.lr", 0),
        ("train.lr", math.inf),
        ("mask.gamma", math.inf),
        ("train.milestones", [0]),
    ],
)
def test_what_no_stage_takes_is_refused_where_it_is_written(tmp_path: Path, key: str, value: object) -> None:
    section, name = key.split(".")
    file = tmp_path / "a.yaml"
    file.write_text(f"{section}:\n  {name}: {'.inf' if value == math.inf else value}\n")
    with pytest.raises(ConfigError, match=rf"a\.yaml:2: {key}: expected .*, got "):
        load_config(file)


def test_every_default_makes_settings() -> None:
    config = load_config(None)
    for kind in classes():
        given = {name: value for name, value in NEEDED.items() if name in kind.keys()}
        found = config.settings(kind, **given)
        options = {option.key: option for option in kind.options()}
        for name, key in kind.keys().items():
            if key in options and name not in given:
                assert getattr(found, name) == options[key].default == getattr(made(kind), name)


@dataclass(frozen=True, kw_only=True)
class Toy(Settings):
    """Two fields of its own, one of another class."""

    limit: int | None = stage_option("evaluate.limit", INTEGER, None, "Images.", low=1)
    lr: float = stage_option("train.lr", FINITE, 0.1, "Rate.", above=0, also="tune")
    seed: int = linked("general.seed")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit == self.seed:
            raise self.wrong("limit", "must differ from the seed")


def test_values_come_from_the_configuration_and_take_its_types() -> None:
    config = load_config(None, {"evaluate.limit": 7, "general.seed": 5, "tune.lr": 0.5})
    assert config.settings(Toy) == Toy(limit=7, lr=0.1, seed=5)
    assert config.settings(Toy, "tune").lr == 0.5
    assert config.settings(Toy, seed=1).seed == 1
    assert type(Toy(seed=1, lr=1).lr) is float


def test_a_linked_value_has_the_range_of_its_option() -> None:
    with pytest.raises(ConfigError, match=r"^general\.seed: expected an integer, at least 0 and at most .*, got -1$"):
        Toy(seed=-1)


def test_values_that_do_not_go_together_are_told_with_their_origin() -> None:
    with pytest.raises(ConfigError, match=r"^evaluate\.limit: 5: must differ from the seed$"):
        Toy(limit=5, seed=5)
    with pytest.raises(ConfigError, match=r"^flag --evaluate_limit: evaluate\.limit: 5: must differ from the seed$"):
        load_config(None, {"evaluate.limit": 5, "general.seed": 5}).settings(Toy)


@pytest.mark.parametrize("kind", [TrainSettings, TuneSettings])
def test_a_needed_value_that_is_not_set_is_named(kind: type[TrainSettings | TuneSettings]) -> None:
    with pytest.raises(ConfigError, match=r"^default: specification\.epsilon: nothing: training needs a radius"):
        load_config(None).settings(kind)
