"""One property of one network: verdicts whose truth is known, counterexamples, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from abcrown_graft.assembly import effort
from abcrown_graft.cli.abcrown import build_parser
from abcrown_graft.config.flags import values_from
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.native import query
from abcrown_graft.engines.native.query import verify_query
from abcrown_graft.errors import AbcrownGraftError, FileFormatError, ModelError
from abcrown_graft.formats.onnx import reader
from abcrown_graft.formats.onnx.export import export_onnx
from abcrown_graft.network.trace import from_module
from abcrown_graft.verdict import Verdict
from abcrown_graft.verify.case import Case
from abcrown_graft.verify.cases import NOT_EXACT, verify_cases
from abcrown_graft.verify.problem import Subject, VerifySettings

pytestmark = pytest.mark.usefixtures("one_thread")


def absolute() -> nn.Sequential:
    """y = |x_0 + x_1|."""
    first, last = nn.Linear(2, 2), nn.Linear(2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
        last.weight.fill_(1.0)
        first.bias.zero_(), last.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), last)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "absolute.onnx"
    export_onnx(from_module(absolute(), (2,)), path)
    return path


HEAD = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)"
BOX = "".join(f"(assert (>= X_{i} -1.0))(assert (<= X_{i} 1.0))" for i in range(2))


def written(folder: Path, text: str) -> Path:
    """A query's file."""
    path = folder / "query.vnnlib"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("unsafe", "verdict"),
    [
        ("(assert (>= Y_0 2.01))", Verdict.VERIFIED),
        ("(assert (>= Y_0 1.5))", Verdict.FALSIFIED),
        ("(assert (<= Y_0 -0.001))", Verdict.VERIFIED),
        ("(assert (or (and (<= Y_0 -0.5)) (and (>= Y_0 0.75) (<= Y_0 0.76))))", Verdict.FALSIFIED),
        ("(assert (and (>= Y_0 0.75) (<= Y_0 0.5)))", Verdict.VERIFIED),
    ],
)
def test_verdicts(network: Path, tmp_path: Path, unsafe: str, verdict: Verdict) -> None:
    answer = verify_query(network, written(tmp_path, HEAD + BOX + unsafe), 60)
    assert answer.verdict is verdict
    assert (answer.inputs is None) == (verdict is Verdict.VERIFIED)


def test_a_counterexample_is_one(network: Path, tmp_path: Path) -> None:
    answer = verify_query(network, written(tmp_path, HEAD + BOX + "(assert (>= Y_0 1.5))"), 60)
    assert answer.inputs.dtype == answer.outputs.dtype == np.float32
    assert np.abs(answer.inputs).max() <= 1
    assert answer.outputs.tolist() == [pytest.approx(abs(answer.inputs.sum()))]
    assert answer.outputs[0] >= 1.5


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [(("<= X_0 -0.5", ">= X_0 0.9"), Verdict.FALSIFIED), (("<= X_0 -0.5", "<= X_0 0.2"), Verdict.VERIFIED)],
)
def test_all_boxes_of_a_property_count(
    network: Path, tmp_path: Path, limits: tuple[str, str], verdict: Verdict
) -> None:
    """|x_0 + x_1| >= 1.8 with x_1 >= -0.5 needs x_0 >= 0.8."""
    text = "".join(f"({limit})" for limit in limits)
    unsafe = f"(assert (>= X_1 -0.5))(assert (or {text}))(assert (>= Y_0 1.8))"
    assert verify_query(network, written(tmp_path, HEAD + BOX + unsafe), 60).verdict is verdict


def test_no_input_at_all_is_verified(network: Path, tmp_path: Path) -> None:
    empty = "(assert (<= X_0 -2.0))(assert (>= Y_0 -1.0))"
    answer = verify_query(network, written(tmp_path, HEAD + BOX + empty), 60)
    assert answer.verdict is Verdict.VERIFIED
    assert "contradict" in answer.reason and "every network has the property (unsat)" in answer.reason


def test_no_time_is_a_timeout(network: Path, tmp_path: Path) -> None:
    answer = verify_query(network, written(tmp_path, HEAD + BOX + "(assert (>= Y_0 2.01))"), 1e-9)
    assert (answer.verdict, answer.inputs) == (Verdict.TIMEOUT, None)


def test_a_compressed_query(network: Path, tmp_path: Path) -> None:
    path = tmp_path / "query.vnnlib.gz"
    path.write_bytes(gzip.compress((HEAD + BOX + "(assert (>= Y_0 2.01))").encode()))
    assert verify_query(str(network), str(path), 60).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("bound", "verdict", "reason"),
    [("1.5", Verdict.FALSIFIED, None), ("1.50000000000000000001", Verdict.UNKNOWN, NOT_EXACT)],
)
def test_a_counterexample_is_one_in_exact_arithmetic(
    network: Path, tmp_path: Path, bound: str, verdict: Verdict, reason: str | None
) -> None:
    """The box is the point (0.75, 0.75) alone, where y = 1.5; the second bound is no float64, 1.5 is its nearest."""
    point = "".join(f"(assert (= X_{i} 0.75))" for i in range(2))
    answer = verify_query(network, written(tmp_path, f"{HEAD}{point}(assert (>= Y_0 {bound}))"), 60)
    assert (answer.verdict, answer.reason) == (verdict, reason)
    assert (answer.inputs is None) == (answer.outputs is None) == (verdict is Verdict.UNKNOWN)


def test_a_network_that_is_read_wrongly_gives_no_verdict(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simplified = reader.simplified
    monkeypatch.setattr(reader, "simplified", lambda network: simplified(network).map_tensors(lambda t: 1.01 * t))
    with pytest.raises(ModelError, match="outputs differ from onnxruntime's"):
        verify_query(network, written(tmp_path, HEAD + BOX + "(assert (>= Y_0 2.01))"), 60)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[VerifySettings]:
    """The settings of every verification."""
    seen: list[VerifySettings] = []

    def watched(subject: Subject, cases: Sequence[Case], settings: VerifySettings, *others: Any) -> Any:
        seen.append(settings)
        return verify_cases(subject, cases, settings, *others)

    monkeypatch.setattr(query, "verify_cases", watched)
    return seen


def test_it_tries_as_hard_as_the_command(network: Path, tmp_path: Path, used: list[VerifySettings]) -> None:
    path = written(tmp_path, HEAD + BOX + "(assert (>= Y_0 2.01))")
    verify_query(network, path, 60)
    words = f"--device cpu --onnx_path {network} --vnnlib_path {path} --override_timeout 60".split()
    config = load_config(None, values_from(build_parser().parse_args(words)))
    assert used == [effort.verify_settings(config)]


def test_settings_are_used_but_for_their_timeout(network: Path, tmp_path: Path, used: list[VerifySettings]) -> None:
    settings = VerifySettings(method="interval", attack=None, timeout=1e-9, seed=7, double=True)
    answer = verify_query(network, written(tmp_path, HEAD + BOX + "(assert (>= Y_0 9.0))"), 60, settings)
    assert (answer.verdict, used) == (Verdict.VERIFIED, [replace(settings, timeout=60)])


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        (HEAD + BOX, FileFormatError, "no assertion is about an output"),
        (HEAD + "(assert (>= Y_0 1.0))", FileFormatError, "X_0 has no lower bound"),
        (HEAD.replace("X_1", "X_7") + BOX, FileFormatError, "X_1"),
        (HEAD + "(declare-const X_2 Real)" + BOX, FileFormatError, "3 elements of X are declared, the network has 2"),
    ],
)
def test_what_is_not_understood_gives_no_verdict(
    network: Path, tmp_path: Path, text: str, kind: type[AbcrownGraftError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        verify_query(network, written(tmp_path, text), 60)


class TestVersion2:
    @staticmethod
    def text(kind: str) -> str:
        declared = f"(declare-network f (declare-input X {kind} [1,2]) (declare-output Y {kind} [1,1]))"
        box = "".join(f"(assert (and (>= X[0,{i}] -1.0) (<= X[0,{i}] 1.0)))" for i in range(2))
        return f"(vnnlib-version <2.0>) {declared} {box} (assert (>= Y[0,0] 2.5))"

    @pytest.fixture(autouse=True)
    def package(self) -> None:
        pytest.importorskip("vnnlib", reason="VNN-LIB 2.0 needs the optional package vnnlib")

    def test_real_numbers(self, network: Path, tmp_path: Path) -> None:
        answer = verify_query(network, written(tmp_path, self.text("real")), 60, network_name="f")
        assert (answer.verdict, answer.interface.network) == (Verdict.VERIFIED, "f")

    def test_floating_point_needs_consent(self, network: Path, tmp_path: Path) -> None:
        path = written(tmp_path, self.text("float32"))
        with pytest.raises(ModelError, match="X is declared float32, but proofs hold in real arithmetic"):
            verify_query(network, path, 60)
        assert verify_query(network, path, 60, as_real=True).verdict is Verdict.VERIFIED

    def test_another_precision_than_the_network_s(self, network: Path, tmp_path: Path) -> None:
        """To declare consent would not help: it isn't asked for."""
        for as_real in (False, True):
            with pytest.raises(FileFormatError, match=r"X is declared float64, .*absolute\.onnx computes in float32"):
                verify_query(network, written(tmp_path, self.text("float64")), 60, as_real=as_real)

    def test_another_network_s_name(self, network: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="declares the network 'f', a file was given for 'g'"):
            verify_query(network, written(tmp_path, self.text("real")), 60, network_name="g")
