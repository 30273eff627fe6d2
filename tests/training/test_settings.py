"""Settings refuse values out of range and name the key."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.errors import ConfigError
from abcrown_graft.training.settings import AdversarialSettings, TrainSettings, TuneSettings

COMMON = dict(epochs=10, batch_size=8, lr=0.1, momentum=0.9, weight_decay=5e-4, epsilon=0.1, validation=5)


def test_defaults_are_the_method_s() -> None:
    settings = TrainSettings(**COMMON)
    assert (settings.attack_step, settings.gradalign, settings.augment) == (1.25, 0.2, "none")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch_size", 0),
        ("validation", 0),
        ("validation", "5"),
        ("seed", -1),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", "0.1"),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-9),
        ("weight_decay", float("inf")),
        ("epsilon", -0.1),
        ("epsilon", 8),
        ("attack_step", 0.0),
        ("gradalign", -1.0),
        ("lr_factor", 0.0),
        ("lr_factor", 1.5),
        ("milestones", [5]),
        ("milestones", (5, 5)),
        ("milestones", (7, 5)),
        ("milestones", (0,)),
        ("milestones", (10,)),
        ("milestones", (5.0,)),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(key: str, value: object) -> None:
    section = {"epsilon": "specification", "seed": "general"}.get(key, "train")
    with pytest.raises(ConfigError, match=rf"^{section}\.{key}: ") as caught:
        TrainSettings(**{**COMMON, key: value})
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("slope_lr", 0.0), ("freeze_weights", "no"), ("epochs", 0)])
def test_tuning_names_its_own_section(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^tune\.{key}: "):
        TuneSettings(**{**COMMON, "slope_lr": 0.01, key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.validation", 0),
        ("train.attack_step", 0.0),
        ("train.pgd_steps", 0),
        ("train.method", "none"),
        ("train.kappa", 2.0),
        ("train.precision", "float16"),
        ("train.compile", 1),
        ("specification.epsilon", 1.5),
        ("general.seed", -1),
    ],
)
def test_tuning_names_the_keys_that_it_shares(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}: "):
        TuneSettings(**{**COMMON, "slope_lr": 0.01, key.split(".")[1]: value})


@pytest.mark.parametrize("settings", [TrainSettings(**COMMON), TuneSettings(**COMMON, slope_lr=0.01)])
def test_every_setting_has_the_key_of_an_option(settings: AdversarialSettings) -> None:
    assert {settings.key(field.name) for field in dataclasses.fields(settings)} <= SCHEMA.keys()


@pytest.mark.parametrize(
    ("key", "limit", "beyond"),
    [
        ("epsilon", 0, -1e-9),
        ("epsilon", 1, 1 + 1e-9),
        ("gradalign", 0, -1e-9),
        ("momentum", 0, -1e-9),
        ("weight_decay", 0, -1e-9),
        ("lr_factor", 1, 1 + 1e-9),
        ("milestones", (1, 9), (0, 9)),
        ("milestones", (1, 9), (1, 10)),
    ],
)
def test_limits_themselves_are_allowed(key: str, limit: object, beyond: object) -> None:
    assert getattr(TrainSettings(**{**COMMON, key: limit}), key) == limit
    with pytest.raises(ConfigError, match=key):
        TrainSettings(**{**COMMON, key: beyond})


def test_settings_do_not_import_torch() -> None:
    code = "import sys, abcrown_graft.training.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
