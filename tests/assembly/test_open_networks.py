"""Opening networks and properties: judged by onnxruntime, checked against each other, and timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx_models import saved
from vnnlib_files import FAILS, HOLDS, OPEN_BOX, norms, property_text

from abcrown_graft.assembly import open_networks
from abcrown_graft.assembly.open_networks import OpenNetwork, open_model, open_onnx, read_case
from abcrown_graft.errors import FileFormatError, ModelError, UnsupportedError
from abcrown_graft.formats.onnx import reader
from abcrown_graft.formats.vnnlib.interface import Interface, TensorDeclaration
from abcrown_graft.formats.vnnlib.read import Property
from abcrown_graft.models.load import ModelSource, load_model


@pytest.fixture
def network(tmp_path: Path) -> OpenNetwork:
    return open_onnx(saved(norms(), tmp_path), "cpu", False)


def written(folder: Path, text: str, name: str = "p.vnnlib") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_the_judge_of_a_file_is_onnxruntime(network: OpenNetwork) -> None:
    assert network.subject.module is network.runtime
    assert (network.inputs, network.outputs, network.subject.dtype) == (2, 2, torch.float32)
    points = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
    assert network.subject.module(points).tolist() == [[3.0, 1.0], [0.5, 0.5]]


def test_a_property_of_two_boxes(network: OpenNetwork, tmp_path: Path) -> None:
    path = written(tmp_path, property_text(HOLDS, OPEN_BOX, ((0, 3), (0, 1))))
    case = read_case(network, 5, path, spent=3.0)
    assert case.index == 5 and len(case.specifications) == 2 and 3.0 < case.spent < 60


def test_the_judge_reads_the_file(network: OpenNetwork, tmp_path: Path) -> None:
    case = read_case(network, 0, written(tmp_path, property_text(FAILS, ((-1, "0.1"), (-1, 1)))))
    for point, expected in {(-0.5, 1.0): True, (-0.5, 0.5): False, (0.25, 2.0): False, (0.1, 1.0): False}.items():
        x = torch.tensor([point])
        assert case.judge(x, torch.tensor([x.abs().sum(), x[0, 0].abs()])) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (property_text(HOLDS).replace("(declare-const Y_1 Real)", ""), r"p\.vnnlib: 1 elements of Y .* network has 2"),
        (property_text(HOLDS)[:-9], r"p\.vnnlib: "),
        ("", r"p\.vnnlib: "),
    ],
)
def test_a_property_of_another_network_or_damaged(network: OpenNetwork, tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FileFormatError, match=told):
        read_case(network, 0, written(tmp_path, text))


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Callable[[TensorDeclaration, TensorDeclaration], None]:
    """Makes every property declare these tensors, as only VNN-LIB 2.0 can."""
    read = open_networks.read_property

    def declare(source: TensorDeclaration, target: TensorDeclaration) -> None:
        def with_interface(*arguments: Any) -> Property:
            return Property(Interface("2.0", "N", source, target), read(*arguments).queries)

        monkeypatch.setattr(open_networks, "read_property", with_interface)

    return declare


@pytest.mark.parametrize(
    ("kind", "source", "target"), [("real", None, None), ("float32", "x", "y"), ("real", "x", None)]
)
def test_declarations_that_fit(
    network, declared, tmp_path: Path, kind: str, source: str | None, target: str | None
) -> None:
    declared(TensorDeclaration("X", kind, (1, 2), source), TensorDeclaration("Y", kind, (2,), target))
    assert len(read_case(network, 0, written(tmp_path, property_text(HOLDS))).specifications) == 1


@pytest.mark.parametrize(
    ("kind", "source", "target", "told"),
    [
        ("float64", "x", "y", r"p\.vnnlib: X is declared float64, .*model\.onnx computes in float32"),
        ("real", "in", "y", r"p\.vnnlib: X is declared to be 'in', .*model\.onnx calls it 'x'"),
        ("real", "x", "out", r"p\.vnnlib: Y is declared to be 'out', .*model\.onnx calls it 'y'"),
    ],
)
def test_declarations_of_another_network(network, declared, tmp_path: Path, kind, source, target, told: str) -> None:
    declared(TensorDeclaration("X", kind, (1, 2), source), TensorDeclaration("Y", kind, (2,), target))
    with pytest.raises(FileFormatError, match=told):
        read_case(network, 0, written(tmp_path, property_text(HOLDS)))


def test_a_network_that_is_read_wrongly_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simplified = reader.simplified
    monkeypatch.setattr(reader, "simplified", lambda network: simplified(network).map_tensors(lambda t: t * 1.01))
    network = open_onnx(saved(norms(), tmp_path), "cpu", False)
    with pytest.raises(ModelError, match=r"model\.onnx: outputs differ from onnxruntime's by 0\.0"):
        read_case(network, 0, written(tmp_path, property_text(HOLDS)))


def test_without_queries_there_is_nothing_to_compare(network: OpenNetwork, tmp_path: Path) -> None:
    empty = written(tmp_path, property_text(HOLDS, ((1, -1), (0, 1))))
    assert read_case(network, 0, empty).specifications == ()


def test_a_torch_model_is_its_own_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_networks, "check_against_onnxruntime", None)
    model = load_model(ModelSource("digits_cnn"))
    network = open_model("digits_cnn", model, "cpu", False)
    assert (network.name, network.inputs, network.outputs) == ("digits_cnn", 64, 10)
    names = [*(f"X_{i}" for i in range(64)), *(f"Y_{j}" for j in range(10))]
    text = "".join(f"(declare-const {name} Real)" for name in names)
    text += "".join(f"(assert (<= 0 X_{i} ))(assert (<= X_{i} 1))" for i in range(64)) + "(assert (<= Y_0 Y_1))"
    assert len(read_case(network, 0, written(tmp_path, text)).specifications) == 1


@pytest.mark.parametrize("content", [b"", b"something else", None])
def test_no_network(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises((FileFormatError, UnsupportedError), match=r"a\.onnx: "):
        open_onnx(tmp_path / "a.onnx", "cpu", False)
