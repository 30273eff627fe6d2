"""Which instances a configuration asks for: paths, time limits, and options that would have no meaning."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from abcrown_graft.assembly.instances import (
    Row,
    asks_for_properties,
    check_network,
    configured_rows,
    is_single,
    onnx_path,
)
from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.errors import ConfigError, FileFormatError

LIST = "onnx/a.onnx,vnnlib/p.vnnlib,7\nonnx/a.onnx,vnnlib/q.vnnlib,8.5\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder `cwd` beside a folder `bench` with two lists."""
    for name in ("cwd", "bench/onnx", "bench/vnnlib", "cwd/onnx"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in ("bench/onnx/a.onnx", "bench/vnnlib/p.vnnlib"):
        (tmp_path / name).touch()
    (tmp_path / "bench/vnnlib/q.vnnlib.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "bench/instances.csv").write_text(LIST)
    (tmp_path / "bench/properties.csv").write_text("vnnlib/p.vnnlib\nvnnlib/q.vnnlib\n")
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


def config(file: Path | None = None, **changed: object) -> Config:
    return load_config(file, {key.replace("__", "."): value for key, value in changed.items()})


BENCH = Path("../bench")
A, P, Q = BENCH / "onnx/a.onnx", BENCH / "vnnlib/p.vnnlib", BENCH / "vnnlib/q.vnnlib.gz"


def test_images_are_the_default() -> None:
    assert not asks_for_properties(config(model__onnx_path="a.onnx"))
    assert asks_for_properties(config(general__csv_name="a.csv"))
    assert asks_for_properties(config(specification__vnnlib_path="p.vnnlib"))


class TestLists:
    def test_names_start_from_the_lists_folder(self, here: Path) -> None:
        rows = configured_rows(config(general__csv_name="../bench/instances.csv"))
        assert rows == [Row(0, A, P, 7.0), Row(1, A, Q, 8.5)]

    def test_or_from_the_root_path_which_goes_first(self, here: Path) -> None:
        named = config(general__csv_name="instances.csv", general__root_path="../bench")
        assert configured_rows(named) == [Row(0, A, P, 7.0), Row(1, A, Q, 8.5)]
        for name in ("onnx/a.onnx", "vnnlib/p.vnnlib"):
            (here / "cwd" / name).parent.mkdir(exist_ok=True)
            (here / "cwd" / name).touch()
        assert configured_rows(named) == [Row(0, A, P, 7.0), Row(1, A, Q, 8.5)]
        rows = configured_rows(config(general__csv_name="../bench/instances.csv"))
        assert rows == [Row(0, Path("onnx/a.onnx"), Path("vnnlib/p.vnnlib"), 7.0), Row(1, Path("onnx/a.onnx"), Q, 8.5)]

    def test_prefixes(self, here: Path) -> None:
        (here / "bench/list.csv").write_text("a.onnx,p.vnnlib,7\n")
        prefixes = {"model__onnx_path_prefix": "onnx", "specification__vnnlib_path_prefix": "vnnlib/"}
        assert configured_rows(config(general__csv_name="../bench/list.csv", **prefixes)) == [Row(0, A, P, 7.0)]

    def test_files_that_are_missing_are_rows_too(self, here: Path) -> None:
        (here / "bench/list.csv").write_text("no.onnx,no.vnnlib,7\n")
        (row,) = configured_rows(config(general__csv_name="../bench/list.csv"))
        assert (row.onnx, row.vnnlib) == (Path("no.onnx"), Path("no.vnnlib"))

    def test_time_limits(self, here: Path) -> None:
        name = {"general__csv_name": "../bench/instances.csv"}
        assert [row.timeout for row in configured_rows(config(**name, bab__timeout=99))] == [7.0, 8.5]
        assert [row.timeout for row in configured_rows(config(**name, bab__override_timeout=3))] == [3, 3]

    def test_properties_alone_have_the_configured_network_and_time(self, here: Path) -> None:
        listed = {"general__csv_name": "../bench/properties.csv", "bab__timeout": 99}
        rows = configured_rows(config(**listed, model__onnx_path="../bench/onnx/a.onnx"))
        assert rows == [Row(0, A, P, 99.0), Row(1, A, Q, 99.0)]
        assert {row.onnx for row in configured_rows(config(**listed, model__name="digits_cnn"))} == {None}

    def test_a_list_that_cannot_be_read(self, here: Path) -> None:
        with pytest.raises(FileFormatError, match=r"no\.csv: no such file"):
            configured_rows(config(general__csv_name="no.csv"))
        (here / "bench/list.csv").write_text(LIST + "onnx/a.onnx,vnnlib/p.vnnlib\n")
        with pytest.raises(FileFormatError, match=r"list\.csv:3: 2 columns"):
            configured_rows(config(general__csv_name="../bench/list.csv"))


class TestSingle:
    def test_a_network_and_a_property(self, here: Path) -> None:
        chosen = {"model__onnx_path": "../bench/onnx/a.onnx", "specification__vnnlib_path": "../bench/vnnlib/q.vnnlib"}
        found = config(**chosen, bab__timeout=5)
        assert is_single(found) and configured_rows(found) == [Row(0, A, Q, 5.0)]

    def test_a_list_has_no_effect_beside_them(self, here: Path) -> None:
        """As α,β-CROWN is called in the competition: a configuration of the benchmark, and one instance."""
        (here / "bench/a.yaml").write_text("general: {csv_name: instances.csv}\ndata: {start: 3, end: 9}\n")
        chosen = {"model__onnx_path": str(A), "specification__vnnlib_path": str(P)}
        assert configured_rows(config(here / "bench/a.yaml", **chosen)) == [Row(0, A, P, 360.0)]

    def test_places(self, here: Path) -> None:
        """The root path, the current folder, the folder of the configuration."""
        (here / "bench/a.yaml").write_text("model: {onnx_path: onnx/a.onnx}\n")
        assert onnx_path(config(here / "bench/a.yaml")) == here / "bench/onnx/a.onnx"
        (here / "cwd/onnx/a.onnx").touch()
        assert onnx_path(config(here / "bench/a.yaml")) == Path("onnx/a.onnx")
        assert onnx_path(config(here / "bench/a.yaml", general__root_path="../bench")) == A
        assert onnx_path(config(here / "bench/a.yaml", general__root_path="nowhere")) == Path("onnx/a.onnx")

    def test_prefixes(self, here: Path) -> None:
        chosen = {"model__onnx_path": "a.onnx", "specification__vnnlib_path": "p.vnnlib"}
        prefixes = {"model__onnx_path_prefix": "../bench/onnx", "specification__vnnlib_path_prefix": "../bench/vnnlib"}
        assert configured_rows(config(**chosen, **prefixes)) == [Row(0, A, P, 360.0)]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, r"model\.onnx_path: not set, but specification\.vnnlib_path is set; name the network"),
        (
            {"model__onnx_path": "a.onnx", "model__name": "cnn_a"},
            r"flag --model: model\.name: the network is the ONNX file of model\.onnx_path \(flag --onnx_path\)",
        ),
        ({"model__onnx_path": "a.onnx", "graft__mask": "m.st"}, r"graft\.mask: the network is the ONNX file"),
        ({"model__onnx_path": "a.onnx", "model__path": "m.pth"}, r"model\.path: the network is the ONNX file"),
        (
            {"model__onnx_path": "a.onnx", "specification__epsilon": 0.1},
            r"flag --epsilon: specification\.epsilon: has no",
        ),
        ({"model__onnx_path": "a.onnx", "data__dataset": "MNIST"}, r"data\.dataset: has no meaning where spec"),
        ({"model__onnx_path": "a.onnx", "data__mean": 0.5}, r"data\.mean: has no meaning"),
        ({"model__onnx_path": "a.onnx", "specification__robustness_type": "runnerup"}, "robustness_type: has no"),
        ({"model__onnx_path": "a.onnx", "instability__dump": "d.st"}, r"instability\.dump: has no meaning"),
    ],
)
def test_wrong_single_instances(here: Path, changed: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        configured_rows(config(specification__vnnlib_path="p.vnnlib", **changed))


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("properties", {}, r"not set, but \.\./bench/properties\.csv names none"),
        ("instances", {"model__onnx_path": "a.onnx"}, r"model\.onnx_path: the lines of .*instances\.csv name their"),
        ("instances", {"model__name": "cnn_a"}, r"model\.name: the lines of"),
        ("instances", {"graft__checkpoint": "c.st"}, r"graft\.checkpoint: the lines of"),
        ("instances", {"data__dataset": "MNIST"}, r"data\.dataset: has no meaning where general\.csv_name is set"),
    ],
)
def test_wrong_lists(here: Path, name: str, changed: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        configured_rows(config(general__csv_name=f"../bench/{name}.csv", **changed))


def test_what_is_said_of_the_network_is_held_against_it() -> None:
    check_network(config(), "a.onnx", 784, 2)
    check_network(config(model__input_shape=[-1, 1, 28, 28], data__num_outputs=10), "a.onnx", 784, 10)
    with pytest.raises(ConfigError, match=r"model\.input_shape: \[-1, 3, 28, 28\] are not the 784 inputs of a\.onnx"):
        check_network(config(model__input_shape=[-1, 3, 28, 28]), "a.onnx", 784, 10)
    with pytest.raises(ConfigError, match=r"data\.num_outputs: 10, but a\.onnx has 2 outputs"):
        check_network(config(data__num_outputs=10), "a.onnx", 784, 2)
