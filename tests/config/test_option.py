"""What an option takes from YAML and from a flag, and how it refuses the rest."""

from __future__ import annotations

import math

import pytest

from abcrown_graft.config import SCHEMA
from abcrown_graft.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("solver.batch_size", 8, 8),
        ("solver.batch_size", "1e3", 1000),
        ("solver.batch_size", 1.0e4, 10000),
        ("specification.epsilon", 1, 1.0),
        ("specification.epsilon", "1e-3", 0.001),
        ("specification.epsilon", None, None),
        ("specification.norm", math.inf, math.inf),
        ("specification.norm", ".inf", math.inf),
        ("specification.norm", "inf", math.inf),
        ("specification.norm", "+.INF", math.inf),
        ("bab.max_domains", math.inf, math.inf),
        ("bab.max_domains", 100, 100),
        ("attack.pgd_alpha", "auto", "auto"),
        ("attack.pgd_alpha", "0.01", 0.01),
        ("attack.pgd_alpha", 1, 1.0),
        ("data.mean", 0, 0.0),
        ("data.mean", [0.1, 1, "2e-1"], (0.1, 1.0, 0.2)),
        ("data.select_instance", [3, 1], (3, 1)),
        ("data.select_instance", (3,), (3,)),
        ("model.input_shape", [-1, 3, 32, 32], (-1, 3, 32, 32)),
        ("model.onnx_optimization_flags", "merge_bn", "merge_bn"),
        ("general.progress", False, False),
        ("general.complete_verifier", 'Customized("f.py", "g")', 'Customized("f.py", "g")'),
        ("mask.layer_cap", None, None),
        ("train.milestones", [], ()),
    ],
)
def test_accepts(key: str, given: object, expected: object) -> None:
    value = SCHEMA[key].check(given, "here")
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("solver.batch_size", True, "expected an integer, at least 1, got true"),
        ("solver.batch_size", 1.5, "expected an integer, at least 1, got 1.5"),
        ("solver.batch_size", "8", "expected an integer, at least 1, got '8'"),
        ("solver.batch_size", "many", "expected an integer, at least 1, got 'many'"),
        ("solver.batch_size", 0, "expected an integer, at least 1, got 0"),
        ("solver.batch_size", None, "expected an integer, at least 1, got nothing"),
        ("solver.batch_size", math.inf, "expected an integer, at least 1, got inf"),
        ("bab.max_domains", -math.inf, "expected an integer or .inf, at least 0, got -inf"),
        ("specification.epsilon", math.nan, "expected a number, at least 0 or null, got nan"),
        ("specification.epsilon", "2/255", "expected a number, at least 0 or null, got '2/255'"),
        ("specification.epsilon", -0.1, "expected a number, at least 0 or null, got -0.1"),
        ("specification.epsilon", False, "expected a number, at least 0 or null, got false"),
        ("specification.epsilon", 10**400, "expected a number, at least 0 or null, got 1"),
        ("general.progress", 1, "expected true or false, got 1"),
        ("general.progress", "yes", "expected true or false, got 'yes'"),
        ("data.mean", "grey", "expected a number or a list of numbers, got 'grey'"),
        ("data.mean", [0.1, "x"], "expected a number or a list of numbers, got [0.1, 'x']"),
        ("data.mean", {"a": 1}, "expected a number or a list of numbers, got {'a': 1}"),
        ("data.std", [1, 0], "expected a number or a list of numbers, above 0, got [1, 0]"),
        ("data.select_instance", 3, "expected a list of integers, such as [1, 2], at least 0 or null, got 3"),
        ("data.select_instance", [-1], "at least 0 or null, got [-1]"),
        ("model.path", 5, "expected a path or null, got 5"),
        ("data.dataset", 10, "expected text or null, got 10; put quotes around it"),
        ("attack.pgd_alpha", "some", "expected a number or \"auto\", above 0, got 'some'"),
        ("mask.ratio", 1.5, "expected a finite number, at least 0 and at most 1, got 1.5"),
        ("general.engine", "fast", "expected one of auto, native, abcrown, got 'fast'"),
        ("general.engine", ["native"], "expected one of auto, native, abcrown, got ['native']"),
        ("general.device", "Customized(1)", "expected one of cpu, cuda, got 'Customized(1)'"),
    ],
)
def test_refuses(key: str, given: object, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        SCHEMA[key].check(given, "a.yaml:3")
    text = str(error.value)
    assert text.startswith(f"a.yaml:3: {key}: ")
    assert message in text
    assert "\n" not in text


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(ConfigError) as error:
        SCHEMA["data.start"].check([[0] * 1000] * 1000, "here")
    assert len(str(error.value)) < 300


def test_choices_of_passed_on_options_bind_flags_but_not_files() -> None:
    option = SCHEMA["attack.attack_mode"]
    assert option.passed_on
    assert option.check("diverse_pgd", "a.yaml:1") == "diverse_pgd"
    with pytest.raises(ConfigError, match="one of diversed_PGD"):
        option.parse("diverse_pgd", "flag --attack_mode")


@pytest.mark.parametrize(
    ("key", "words", "expected"),
    [
        ("data.start", "5", 5),
        ("bab.timeout", "30", 30.0),
        ("specification.norm", ".inf", math.inf),
        ("data.mean", ["0.1", "2"], (0.1, 2.0)),
        ("model.path", "5", "5"),
        ("general.progress", False, False),
        ("bab.max_domains", "inf", math.inf),
    ],
)
def test_parses_words_of_flags(key: str, words: str | list[str], expected: object) -> None:
    value = SCHEMA[key].parse(words, "flag")
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("key", "words"), [("data.start", "five"), ("bab.timeout", "nan"), ("data.std", ["1", "0"])])
def test_refuses_words_of_flags(key: str, words: str | list[str]) -> None:
    with pytest.raises(ConfigError, match=rf"^flag --x: {key}: expected"):
        SCHEMA[key].parse(words, "flag --x")
