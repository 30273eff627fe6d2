"""YAML files: precedence, origins with lines, and one clear line for each mistake."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from abcrown_graft.config import load_config
from abcrown_graft.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    """The message that `text` gets, without the folder."""
    with pytest.raises(ConfigError) as error:
        load_config(write(folder, text))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{folder}/a.yaml")
    return message.removeprefix(f"{folder}/")


def test_defaults_then_file_then_flags(tmp_path: Path) -> None:
    path = write(tmp_path, "data:\n  start: 1\n  end: 20\nsolver:\n  batch_size: 8\n")
    config = load_config(path, {"solver.batch_size": 16})
    assert (config["data.start"], config["data.end"], config["solver.batch_size"]) == (1, 20, 16)
    assert config["attack.pgd_steps"] == 100
    assert config.origin("data.end") == f"{path}:3"
    assert config.origin("solver.batch_size") == "flag --batch_size"
    assert config.origin("attack.pgd_steps") == "default"
    assert config.file == path


def test_without_a_file() -> None:
    config = load_config(None, {"bab.timeout": 5})
    assert config.file is None
    assert config["bab.timeout"] == 5.0
    assert config["specification.norm"] == math.inf


def test_a_value_that_equals_the_default_still_has_its_origin(tmp_path: Path) -> None:
    path = write(tmp_path, "data:\n  start: 0\n")
    assert load_config(path).origin("data.start") == f"{path}:2"


def test_values_as_users_write_them(tmp_path: Path) -> None:
    config = load_config(
        write(
            tmp_path,
            "specification:\n  epsilon: 1e-3\n  norm: .inf\n"
            "data: {mean: [0.1, 0.2, 3e-1], std: 1}\n"
            'model:\n  name: Customized("m.py", "f", a=1)\n'
            "solver:\n  alpha-crown:\n    lr_alpha: 1\n",
        )
    )
    assert config["specification.epsilon"] == 0.001
    assert config["specification.norm"] == math.inf
    assert config["data.mean"] == (0.1, 0.2, 0.3)
    assert config["data.std"] == 1.0
    assert config["model.name"] == 'Customized("m.py", "f", a=1)'
    assert config["solver.alpha-crown.lr_alpha"] == 1.0


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = "train: &base\n  epochs: 5\n  lr: 0.2\n  batch_size: 32\ntune:\n  <<: *base\n  lr: 0.3\n"
    config = load_config(write(tmp_path, text))
    assert (config["train.lr"], config["tune.lr"]) == (0.2, 0.3)
    assert (config["tune.epochs"], config["tune.batch_size"]) == (5, 32)
    assert config.origin("tune.epochs").endswith("a.yaml:2")
    assert config.origin("tune.lr").endswith("a.yaml:7")


def test_merged_keys_may_be_overridden_but_not_repeated(tmp_path: Path) -> None:
    text = "train: &train {lr: 0.5, epochs: 1}\ntune: &tune\n  <<: *train\n  lr: 0.7\ntrain: *tune\n"
    assert "given twice" in refusal(tmp_path, text)
    text = "data: &a {start: 1}\ninstability: &b\n  <<: *a\n  start: 2\n  split: test\n"
    config = load_config(write(tmp_path, text))
    assert (config["data.start"], config["instability.start"]) == (1, 2)


def test_an_empty_mapping_is_fine(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "{}")) == load_config(None)
    assert load_config(write(tmp_path, "data: {}\n")) == load_config(None)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_bytes(b"\xef\xbb\xbfdata:\n  start: 3\n")
    assert load_config(path)["data.start"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "solver:\n  alpha-crown:\n    iterations: 3\n",
            "a.yaml:3: unknown key 'solver.alpha-crown.iterations'; did you mean 'solver.alpha-crown.iteration'?",
        ),
        ("data:\n  timeout: 3\n", "a.yaml:2: unknown key 'data.timeout'; did you mean 'bab.timeout'?"),
        ("sover:\n  batch_size: 3\n", "a.yaml:1: unknown key 'sover'; did you mean 'solver'?"),
        ("1: 2\n", "a.yaml:1: unknown key '1'"),
        (
            "solver.batch_size: 3\n",
            "a.yaml:1: unknown key 'solver.batch_size'; write it nested, {solver: {batch_size: ...}}",
        ),
        (
            "solver:\n  crown.batch_size: 3\n",
            "a.yaml:2: unknown key 'crown.batch_size'; write it nested, {crown: {batch_size: ...}}",
        ),
        ("data:\n  start: five\n", "a.yaml:2: data.start: expected an integer, at least 0, got 'five'"),
        ("data:\n  start:\n", "a.yaml:2: data.start: expected an integer, at least 0, got nothing"),
        ("data:\n  mean:\n    a: 1\n", "a.yaml:2: data.mean: expected a number or a list of numbers, got {'a': 1}"),
        ("data:\n\n  split: val\n", "a.yaml:3: data.split: expected one of test, train, got 'val'"),
        ("general:\n", "a.yaml:1: section 'general' is empty; remove it or indent its keys below it"),
        (
            "data:\n  start: 1\ngeneral:\nmodel: {}\n",
            "a.yaml:3: section 'general' is empty; remove it or indent its keys below it",
        ),
        ("solver:\n  crown: 5\n", "a.yaml:2: 'solver.crown' is a section; expected keys below it, got '5'"),
        ("solver: [1]\n", "a.yaml:1: 'solver' is a section; expected keys below it, got a list"),
        ("", "a.yaml: the file is empty; expected sections such as 'model:' and 'data:'"),
        ("# nothing\n", "a.yaml: the file is empty; expected sections such as 'model:' and 'data:'"),
        ("- 1\n", "a.yaml:1: expected sections such as 'model:' and 'data:', got a list"),
        ("hello\n", "a.yaml:1: expected sections such as 'model:' and 'data:', got 'hello'"),
        (
            "data:\n  start: 1\n  start: 2\n",
            "a.yaml:3: key 'start' is given twice, first on line 2; remove one",
        ),
        ("data: {}\nmodel: {}\ndata: {}\n", "a.yaml:3: key 'data' is given twice, first on line 1; remove one"),
        ("? [a, b]\n: 1\n", "a.yaml:1: a key has to be a plain name"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("data:\n\tstart: 1\n", 2),
        ("data: {start: 1\n", 2),
        ("data:\n  start: 1\n end: 3\n", 3),
        ("data:\n  start: *nowhere\n", 2),
        ("data:\n  start: !!python/object/apply:os.getcwd []\n", 2),
        ("data: {}\n---\nmodel: {}\n", 2),
        ("data:\n  dataset: \x01\n", 2),
    ],
)
def test_syntax_errors_name_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    assert refusal(tmp_path, text).startswith(f"a.yaml:{line}: not valid YAML: ")


@pytest.mark.parametrize("text", ["data:\n  dataset: 2020-13-45\n", "[" * 2000])
def test_values_that_yaml_cannot_make(tmp_path: Path, text: str) -> None:
    assert "not valid YAML" in refusal(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="this is a folder, not a file"):
        load_config(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00data")
    with pytest.raises(ConfigError, match="not a text file in UTF-8"):
        load_config(tmp_path / "b.yaml")


def test_wrong_flags() -> None:
    with pytest.raises(ConfigError, match=r"^flag --batch_size: solver\.batch_size: expected an integer"):
        load_config(None, {"solver.batch_size": 0})
    with pytest.raises(ConfigError, match=r"unknown key 'solver\.batchsize'; did you mean 'solver\.batch_size'\?"):
        load_config(None, {"solver.batchsize": 1})


def test_the_environment_gives_the_data_folder_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABCROWN_GRAFT_DATA", "/sets")
    config = load_config(None)
    assert config["data.data_dir"] == "/sets"
    assert config.origin("data.data_dir") == "environment variable ABCROWN_GRAFT_DATA"
    assert load_config(write(tmp_path, "data: {data_dir: mine}\n"))["data.data_dir"] == "mine"
    assert load_config(None, {"data.data_dir": "flagged"})["data.data_dir"] == "flagged"
    monkeypatch.setenv("ABCROWN_GRAFT_DATA", "")
    assert load_config(None).origin("data.data_dir") == "default"
