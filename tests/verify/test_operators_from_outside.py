"""Operators that this package does not know: one class makes a network verifiable, or is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from image_cases import cases_at
from sample_cores import exact_minima
from scipy.sparse import csr_array
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds
from abcrown_graft.core.reduction import reduce_to_core
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.formats.onnx.export import export_onnx
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.onnx.runtime import run_onnxruntime
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.robustness import Robustness
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network, Node
from abcrown_graft.network.onnx_writer import OnnxWriter
from abcrown_graft.network.relaxation import Relaxation
from abcrown_graft.network.trace import from_module
from abcrown_graft.network.translation import Call, call_rule
from abcrown_graft.search.bab import SearchSettings
from abcrown_graft.search.optimize import AdamSettings
from abcrown_graft.verify.batches import verify_boxes
from abcrown_graft.verify.problem import Subject, VerifySettings

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CumSum(op.NonNegative, op.WithoutWindows):
    """Sums of the first numbers of a vector."""

    element_wise = True
    roundings = 8
    mixes = True
    copies = True

    def value(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return x.cumsum(1)

    def longest_sum(self, input_shapes: tuple[Shape, ...], shape: Shape) -> int:
        return shape[0]

    def pull_back(self, coefficients: Tensor, input_shapes: tuple[Shape, ...]) -> tuple[tuple[Tensor, ...], float]:
        return (coefficients.flip(1).cumsum(1).flip(1),), 0.0

    def matrices(self, input_shapes: tuple[Shape, ...], dtype: torch.dtype) -> tuple[csr_array, ...]:
        size = input_shapes[0][0]
        return (csr_array(torch.ones(size, size, dtype=dtype).tril().numpy()),)

    def entries(self, shape: Shape) -> int:
        return shape[0] * (shape[0] + 1) // 2

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        size = shapes[0][0]
        graph.call("MatMul", [sources[0], graph.weight(f"{output}.ones", torch.ones(size, size).triu())], output)

    @staticmethod
    @call_rule(torch.cumsum)
    def from_call(call: Call) -> CumSum:
        """Of a batch of vectors, along them."""
        if len(call.shape) != 1 or call.argument(1, "dim", None) not in (1, -1):
            raise UnsupportedError(f"{call.where}: other than along a vector")
        return CumSum()


class Summed(nn.Module):
    """Two layers of six ReLUs with sums between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(2, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cumsum(self.first(x), dim=1).relu()
        return self.last(torch.cumsum(self.second(y), dim=-1).relu())


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(1)
    summed = Summed().requires_grad_(False)
    first, second = summed(IMAGES).T
    summed.last.bias[0] -= (first - second).median()  # so that each class has some images
    return summed


SEARCH = SearchSettings(alpha=AdamSettings(5), beta=AdamSettings(5))
IMAGES = torch.rand(12, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("verifier", ["bab", "mip"])
def test_verdicts_are_the_truth_for_networks_with_a_new_affine_operator(module: nn.Module, verifier: str) -> None:
    subject = Subject.prepare(module, from_module(module, (2,)), "cpu", False)
    labels = module(IMAGES).argmax(1)
    chosen = VerifySettings(attack=None, search=SEARCH, complete_verifier=verifier)
    specification = Robustness(0.15)(IMAGES, labels, range(12), 2)
    truth = [
        float(exact_minima(subject.exact, specification.box[k : k + 1], specification.rows[k].flatten(0, 1)).min())
        for k in range(12)
    ]
    cases = cases_at(subject, IMAGES, labels, robustness=0.15)
    found = [str(r.verdict) for r in verify_boxes(subject, cases, chosen)]
    assert found == ["verified" if least > 0 else "falsified" for least in truth]
    assert set(found) == {"verified", "falsified"} and min(map(abs, truth)) > 1e-5


def test_files_with_a_new_affine_operator_mean_the_network(module: nn.Module, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime judges what a file means")
    network, path = from_module(module, (2,)), tmp_path / "summed.onnx"
    export_onnx(network, path)
    found = run_onnxruntime(read_onnx(path), path, IMAGES)
    np.testing.assert_allclose(found.numpy(), evaluate(network, IMAGES).double().numpy(), rtol=1e-5, atol=1e-6)


def test_a_call_is_translated_once() -> None:
    with pytest.raises(ValueError, match="cumsum is translated twice; remove one of the rules"):
        call_rule(torch.cumsum)(lambda call: None)


@dataclass(frozen=True, eq=False)
class Sigmoid(op.Activation):
    """1 / (1 + exp(-z)), with lines that enclose it where z >= 0."""

    kinks = None
    hinge = None
    monotone = True
    graftable = False

    def value(self, *inputs: Tensor) -> Tensor:
        (z,) = inputs
        return z.sigmoid()

    def magnitude(self, *inputs: Tensor) -> Tensor:
        (z,) = inputs
        return torch.ones_like(z)

    def relax(self, z: Box) -> Relaxation:
        low, high = z.lower.sigmoid(), z.upper.sigmoid()
        chord = (high - low) / (z.upper - z.lower)
        middle = (z.lower + z.upper) / 2
        tangent = middle.sigmoid() * (1 - middle.sigmoid())
        return Relaxation(chord, low - chord * z.lower, tangent, middle.sigmoid() - tangent * middle)

    def slopes(self, z: Box) -> Box:
        return Box(torch.zeros_like(z.lower), torch.full_like(z.lower, 0.25))

    def write_onnx(self, graph: OnnxWriter, sources: Sequence[str], shapes: tuple[Shape, ...], output: str) -> None:
        graph.call("Sigmoid", sources, output)


@pytest.fixture
def curved() -> tuple[Network, Box]:
    """`chord + 0.02 - sigmoid` for z in [1, 3]: negative at the middle, positive at both ends, as the chord says."""
    one = torch.ones(1, 1, dtype=torch.float64)
    ends = torch.tensor([1.0, 3.0], dtype=torch.float64)
    chord = float(ends.sigmoid().diff()) / 2
    offset = float(ends[0].sigmoid()) - chord + 0.02
    nodes = (
        Node("input", op.Input(), (), (1,)),
        Node("z", op.Linear(one, 0 * one[0]), ("input",), (1,)),
        Node("s", Sigmoid(), ("z",), (1,)),
        Node("minus", op.Scale(-one[0], 0 * one[0]), ("s",), (1,)),
        Node("line", op.Linear(chord * one, offset * one[0]), ("input",), (1,)),
        Node("out", op.Add(), ("minus", "line"), (1,)),
    )
    return Network(nodes), Box(one, 3 * one)


class TestAnActivationThatIsNotPiecewiseLinear:
    def test_its_lines_bound_the_network(self, curved: tuple[Network, Box]) -> None:
        network, box = curved
        bounds = bound_network(network, box, rigorous=True)
        lower = margin_lower_bounds(bounds, torch.ones(1, 1, 1, dtype=torch.float64)).item()
        least = evaluate(network, torch.linspace(1, 3, 1001, dtype=torch.float64)[:, None]).min().item()
        assert lower <= least < 0

    def test_it_is_unstable_wherever_its_bounds_lie(self, curved: tuple[Network, Box]) -> None:
        assert bound_network(*curved).unstable("s").all()

    def test_there_is_no_core_for_it(self, curved: tuple[Network, Box]) -> None:
        bounds = bound_network(*curved, rigorous=True)
        with pytest.raises(UnsupportedError, match="s: activation Sigmoid is not declared piecewise linear"):
            reduce_to_core(bounds, torch.ones(1, 1, dtype=torch.float64))

    @pytest.mark.parametrize("incomplete", [True, False])
    def test_a_false_property_is_an_error_and_never_verified(
        self, curved: tuple[Network, Box], incomplete: bool
    ) -> None:
        class Model(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                lead = evaluate(curved[0].to(dtype=x.dtype), x)
                return torch.cat([lead, 0 * lead], 1)

        *nodes, out = curved[0].nodes
        both = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
        network = Network((*nodes, out, Node("both", op.Linear(both, 0 * both[:, 0]), ("out",), (2,))))
        subject = Subject.prepare(Model(), network, "cpu", False)
        image = torch.tensor([[1.0]])
        robustness = Robustness(None, lower=curved[1].lower, upper=curved[1].upper)
        chosen = VerifySettings(attack=None, search=SEARCH, incomplete=incomplete)
        (found,) = verify_boxes(subject, cases_at(subject, image, torch.tensor([0]), robustness=robustness), chosen)
        assert found.verdict == "error" and "UnsupportedError: s: activation Sigmoid" in found.reason


class _Curve(op.Activation, abstract=True):
    """A sigmoid that says something else of itself."""

    hinge = op.Hinge(0.0, 1.0)
    monotone, graftable = True, False
    value, magnitude, relax = Sigmoid.value, Sigmoid.magnitude, Sigmoid.relax
    slopes, write_onnx = Sigmoid.slopes, Sigmoid.write_onnx


class Enclosed(_Curve):
    """As if it were piecewise linear."""

    kinks = (0.0,)


class Elsewhere(_Curve):
    """As if it had a kink outside its bounds, at 5."""

    kinks = (0.0, 5.0)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (Enclosed(), "s: two lines enclose a neuron of Enclosed that has no kink inside"),
        (Elsewhere(), "s: activation Elsewhere is not declared piecewise linear with a kink at 0 alone"),
    ],
    ids=["contradiction", "other kinks"],
)
def test_what_no_core_can_hold_is_refused_by_name(
    curved: tuple[Network, Box], operator: op.Activation, message: str
) -> None:
    nodes = [Node(n.name, operator if n.name == "s" else n.operator, n.inputs, n.shape) for n in curved[0].nodes]
    bounds = bound_network(Network(tuple(nodes)), curved[1], rigorous=True)
    with pytest.raises(UnsupportedError, match=message):
        reduce_to_core(bounds, torch.ones(1, 1, dtype=torch.float64))
