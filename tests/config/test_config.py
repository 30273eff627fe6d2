"""The effective configuration: immutable, resolves paths, writes itself as YAML that reads back equal."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abcrown_graft.config import SCHEMA, Config, Option, load_config
from abcrown_graft.config.kinds import BOOLEAN, COUNT, FINITE, FLOAT, FLOAT_OR_FLOATS, FLOATS, INTEGER, INTEGERS, STEP
from abcrown_graft.errors import ConfigError


def scalars(option: Option) -> st.SearchStrategy[Any]:
    """Valid scalars for `option`."""
    low, high = option.low if option.low is not None else option.above, option.high
    numbers = st.floats(
        low,
        high if option.below is None else option.below,
        allow_nan=False,
        allow_infinity=None if option.kind is not FINITE else False,
        exclude_min=option.above is not None,
        exclude_max=option.below is not None,
    )
    integers = st.integers(None if low is None else int(low), None if high is None else int(high))
    if option.choices is not None:
        return st.sampled_from(list(option.choices))
    if option.kind is BOOLEAN:
        return st.booleans()
    if option.kind in (INTEGER, INTEGERS):
        return integers
    if option.kind in (FINITE, FLOAT, FLOATS, FLOAT_OR_FLOATS):
        return numbers
    if option.kind is COUNT:
        return integers | st.just(math.inf)
    return st.just("auto") | numbers if option.kind is STEP else st.text()


def values(option: Option) -> st.SearchStrategy[Any]:
    """Valid values for `option`, lists as tuples."""
    kinds = [scalars(option)] if option.kind.scalar else []
    if option.kind.listed:
        kinds.append(st.lists(scalars(option), max_size=4).map(tuple))
    return st.one_of(*kinds, *([st.none()] if option.default is None else []))


configurations = st.dictionaries(st.sampled_from(sorted(SCHEMA)), st.none(), max_size=12).flatmap(
    lambda keys: st.fixed_dictionaries({key: values(SCHEMA[key]) for key in keys})
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=configurations, only_changed=st.booleans())
def test_written_configurations_read_back_equal(tmp_path: Path, changes: dict[str, Any], only_changed: bool) -> None:
    config = load_config(None).replace(changes)
    path = tmp_path / "a.yaml"
    path.write_text(config.to_yaml(only_changed), encoding="utf-8")
    assert load_config(path) == config


def test_the_whole_configuration_is_written_in_the_order_of_the_schema() -> None:
    written = yaml.safe_load(load_config(None).to_yaml())
    assert written["solver"]["alpha-crown"]["lr_alpha"] == 0.1
    assert list(written)[:5] == ["general", "model", "data", "specification", "solver"]
    assert written["train"]["milestones"] == [100, 150]


def test_only_what_changed_is_written() -> None:
    config = load_config(None, {"data.start": 0, "data.mean": [0.5, 0.25], "solver.alpha-crown.iteration": 7})
    written = config.to_yaml(only_changed=True)
    assert written == "data:\n  mean: [0.5, 0.25]\nsolver:\n  alpha-crown:\n    iteration: 7\n"


def test_nothing_can_be_assigned() -> None:
    config = load_config(None)
    with pytest.raises(TypeError):
        config.values["data.start"] = 1  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.file = Path("x")  # type: ignore[misc]


def test_an_unknown_key_is_a_defect_of_the_caller() -> None:
    with pytest.raises(KeyError):
        load_config(None)["data.strat"]


def test_replace_checks_and_leaves_the_original() -> None:
    config = load_config(None)
    changed = config.replace({"data.start": 5, "data.mean": [1]}, origin="stage tune")
    assert (changed["data.start"], changed["data.mean"], config["data.start"]) == (5, (1.0,), 0)
    assert changed.origin("data.start") == "stage tune"
    assert changed.origin("data.end") == "default"
    assert changed != config
    with pytest.raises(ConfigError, match=r"^set by the program: data\.start: expected an integer"):
        config.replace({"data.start": "x"})
    with pytest.raises(ConfigError, match=r"^set by the program: unknown key 'data\.strat'"):
        config.replace({"data.strat": 1})


def config_in(folder: Path, text: str) -> Config:
    folder.mkdir(exist_ok=True)
    (folder / "a.yaml").write_text(text)
    return load_config(folder / "a.yaml")


class TestPath:
    """Which file a path of the configuration means."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def test_unset_or_empty_is_none(self) -> None:
        assert load_config(None).path("model.path") is None
        assert load_config(None).path("general.root_path") is None

    def test_absolute_stays(self, tmp_path: Path) -> None:
        config = load_config(None, {"model.path": str(tmp_path / "w"), "general.root_path": "/elsewhere"})
        assert config.path("model.path") == tmp_path / "w"

    def test_relative_starts_here_or_from_the_root_path(self) -> None:
        config = load_config(None, {"model.path": "w.pt"})
        assert config.path("model.path") == Path("w.pt")
        assert config.replace({"general.root_path": "root"}).path("model.path") == Path("root/w.pt")
        assert config.replace({"general.root_path": "root"}).path("general.root_path") == Path("root")

    def test_home(self, tmp_path: Path) -> None:
        assert load_config(None, {"model.path": "~/w"}).path("model.path") == tmp_path / "home" / "w"

    def test_config_path_is_the_folder_of_the_file(self, tmp_path: Path) -> None:
        config = config_in(tmp_path / "c", "model: {path: $CONFIG_PATH/w.pt}\n")
        assert config.path("model.path") == tmp_path / "c" / "w.pt"
        with pytest.raises(ConfigError, match=r"^flag --load_model: model\.path: \$CONFIG_PATH needs a configuration"):
            load_config(None, {"model.path": "$CONFIG_PATH/w"}).path("model.path")

    def test_a_file_that_is_read_may_lie_beside_the_configuration(self, tmp_path: Path) -> None:
        config = config_in(tmp_path / "c", "model: {path: sub/../w.pt}\n")
        (tmp_path / "c" / "sub").mkdir()
        assert config.path("model.path") == Path("sub/../w.pt")
        (tmp_path / "c" / "w.pt").touch()
        assert config.path("model.path") == tmp_path / "c" / "sub" / ".." / "w.pt"
        assert config.path("model.path", must_exist=False) == Path("sub/../w.pt")
        (tmp_path / "sub").mkdir()
        (tmp_path / "w.pt").touch()
        assert config.path("model.path") == Path("sub/../w.pt")


def test_fingerprints_depend_on_the_chosen_values_only() -> None:
    config = load_config(None)
    keys = ["data.mean", "specification.norm", "train.milestones"]
    digest = config.fingerprint(keys)
    assert digest == config.fingerprint(reversed(keys))
    assert digest == config.replace({"data.start": 3}).fingerprint(keys)
    assert digest != config.replace({"data.mean": 0.5}).fingerprint(keys)
