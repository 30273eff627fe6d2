"""Every affine operator: all rules are about one function, `sum_i W_i x_i + b`, which the sparse matrices spell out."""

from __future__ import annotations

import pytest
import torch
from operator_examples import Example, affine_examples, randn
from torch import Tensor

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.windows import Windows

pytestmark = pytest.mark.usefixtures("one_thread")

EXAMPLES = affine_examples()


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    torch.manual_seed(2)
    return EXAMPLES[request.param]


def affine(example: Example) -> op.AffineOperator:
    assert isinstance(example.operator, op.AffineOperator)
    return example.operator


def weights(operator: op.AffineOperator, example: Example) -> list[Tensor]:
    found = operator.matrices(example.input_shapes, torch.float64)
    return [torch.from_numpy(matrix.toarray()) for matrix in found]


def constant(operator: op.AffineOperator, example: Example) -> Tensor:
    found = operator.constant(example.shape)
    return torch.zeros(torch.Size(example.shape).numel(), dtype=torch.float64) if found is None else found


def test_products_with_the_matrices_and_the_constant_are_the_value(example: Example) -> None:
    operator, inputs = affine(example), example.inputs()
    products = [w @ x.flatten() for w, x in zip(weights(operator, example), inputs, strict=True)]
    torch.testing.assert_close(sum(products, constant(operator, example)), operator.value(*inputs).flatten())


def test_matrices_have_no_more_entries_than_announced(example: Example) -> None:
    found = affine(example).matrices(example.input_shapes, torch.float64)
    assert all(matrix.nnz <= affine(example).entries(example.shape) for matrix in found)


def test_pulling_back_is_the_product_with_the_transposed_matrices(example: Example) -> None:
    operator, coefficients = affine(example), randn(5, *example.shape)
    pulled, added = operator.pull_back(coefficients, example.input_shapes)
    assert [p.shape for p in pulled] == [(5, *shape) for shape in example.input_shapes]
    for part, w in zip(pulled, weights(operator, example), strict=True):
        torch.testing.assert_close(part.flatten(1), coefficients.flatten(1) @ w)
    torch.testing.assert_close(torch.zeros(5).double() + added, coefficients.flatten(1) @ constant(operator, example))


def test_the_absolute_operator_has_the_absolute_values_of_matrices_and_constant(example: Example) -> None:
    operator = affine(example)
    for w, absolute in zip(weights(operator, example), weights(operator.absolute(), example), strict=True):
        assert torch.equal(w.abs(), absolute)
    assert torch.equal(constant(operator, example).abs(), constant(operator.absolute(), example))


def test_the_linear_operator_has_the_same_matrices_and_no_constant(example: Example) -> None:
    operator = affine(example)
    for w, same in zip(weights(operator, example), weights(operator.linear(), example), strict=True):
        assert torch.equal(w, same)
    assert not constant(operator.linear(), example).any()


def test_the_magnitude_is_the_sum_of_all_absolute_terms(example: Example) -> None:
    operator, sizes = affine(example), [x.abs() for x in example.inputs()]
    terms = [w.abs() @ x.flatten() for w, x in zip(weights(operator, example), sizes, strict=True)]
    expected = sum(terms, constant(operator, example).abs())
    torch.testing.assert_close(operator.magnitude(*sizes).flatten(), expected)


def test_no_inner_product_of_a_rule_is_longer_than_announced(example: Example) -> None:
    """Those of the rows, those of the columns over all rows of coefficients, and the constants."""
    operator = affine(example)
    longest = operator.longest_sum(example.input_shapes, example.shape)
    for w in weights(operator, example):
        used = w != 0
        assert longest >= max(int(used.sum(0).amax()), 1)
        if len(example.input_shapes) == 1:
            assert longest >= int(used.sum(1).amax())
    assert longest >= int((constant(operator, example) != 0).sum())


def test_the_interval_is_the_tightest(example: Example) -> None:
    operator, boxes = affine(example), example.boxes(1)
    lower = upper = constant(operator, example)
    for w, box in zip(weights(operator, example), boxes, strict=True):
        low, high = box.lower.flatten(), box.upper.flatten()
        lower = lower + w.clamp(min=0) @ low + w.clamp(max=0) @ high
        upper = upper + w.clamp(min=0) @ high + w.clamp(max=0) @ low
    found = operator.interval(*boxes)
    torch.testing.assert_close(found.lower.flatten(), lower)
    torch.testing.assert_close(found.upper.flatten(), upper)


def test_what_is_said_of_mixing_and_copying_holds(example: Example) -> None:
    operator, found = affine(example), [w != 0 for w in weights(affine(example), example)]
    read = sum(used.sum(1) for used in found)
    assert isinstance(read, Tensor)
    assert operator.mixes or int(read.amax()) <= 1
    assert operator.copies or max(int(used.sum(0).amax()) for used in found) <= 1


def test_the_diagonal_and_kept_numbers_are_those_of_the_matrices(example: Example) -> None:
    operator, diagonal = affine(example), affine(example).diagonal(example.shape)
    for w in weights(operator, example):
        if diagonal is not None:
            assert torch.equal(w, torch.diag(torch.ones(len(w)).double() * diagonal))
        if operator.keeps_numbers:
            assert torch.equal(w, torch.eye(len(w)).double()) and not constant(operator, example).any()


def test_a_folded_scaling_is_the_scaling_afterwards(example: Example) -> None:
    operator, inputs = affine(example), example.inputs(3)
    per_output = (example.shape[0], *(1,) * (len(example.shape) - 1))
    for size in (per_output, example.shape, ()):
        scale, shift = randn(*size), randn(*size)
        folded = operator.scaled(scale, shift, example.shape)
        if folded is not None:
            torch.testing.assert_close(folded.value(*inputs), scale * operator.value(*inputs) + shift)


WINDOWED = [n for n, e in EXAMPLES.items() if len(e.shape) == 3 and e.operator.takes_windows(e.shape)]


def neuron_windows(shape: tuple[int, ...]) -> Windows:
    """A window of two by two for every place of a map, cut where it leaves the map."""
    channels, height, width = shape
    count = height * width
    place = torch.arange(count)
    values = randn(count, channels, 2, 2)
    return Windows(values, place, torch.zeros_like(place), place // width, place % width, shape).trimmed()


def whole(windows: Windows) -> Tensor:
    return windows.whole().values


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_are_pulled_back_like_whole_maps(name: str) -> None:
    torch.manual_seed(3)
    example = EXAMPLES[name]
    operator, shape = affine(example), example.shape
    windows = neuron_windows(shape)
    expected, constants = operator.pull_back(whole(windows), example.input_shapes)
    found, added = operator.pull_back_windows(windows, example.input_shapes)
    for part, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(whole(part), plain)
    zeros = torch.zeros(len(windows.place), dtype=torch.float64)
    torch.testing.assert_close(zeros + added, zeros + constants)


@pytest.mark.parametrize("name", ["linear", "reshape", "select"])
def test_an_operator_without_a_rule_for_windows_says_so(name: str) -> None:
    operator = EXAMPLES[name].operator
    assert isinstance(operator, op.AffineOperator) and not operator.takes_windows((1, 2, 2))
    message = f"operator {type(operator).__name__} has no rule for windows"
    with pytest.raises(UnsupportedError, match=message):
        operator.pull_back_windows(neuron_windows((1, 2, 2)), EXAMPLES[name].input_shapes)
    with pytest.raises(UnsupportedError, match=message):
        operator.window_before(1, 1)


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_before_an_operator_are_as_large_as_announced(name: str) -> None:
    example = EXAMPLES[name]
    operator, shape = affine(example), example.shape
    parts, _ = operator.pull_back_windows(neuron_windows(shape), example.input_shapes)
    announced = operator.window_before(2, 2)
    for part in parts:
        assert part.values.shape[2:] == announced or part.values.shape[2:] == part.shape[1:]
