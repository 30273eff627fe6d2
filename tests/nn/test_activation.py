"""The grafted ReLU as a module."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad

from abcrown_graft.errors import MaskError
from abcrown_graft.nn.activation import GraftedReLU

pytestmark = pytest.mark.usefixtures("one_thread")


def activation(mask: list[bool], slope: float = 0.4, intercept: float = 0.0) -> GraftedReLU:
    return GraftedReLU(torch.tensor(mask), slope, intercept)


def away_from_kinks(*shape: int) -> torch.Tensor:
    z = torch.randn(*shape, dtype=torch.float64)
    return (z + 0.1 * z.sign()).requires_grad_(True)


def test_hand_computed_values():
    values = activation([True, False], 2.0, -1.0)(torch.tensor([[-3.0, -3.0], [3.0, 3.0]]))
    assert values.tolist() == [[-7, 0], [5, 3]]


def test_the_initial_line_is_the_papers():
    grafted = activation([True])
    assert (grafted.slope.item(), grafted.intercept.item()) == (pytest.approx(0.4), 0)


@given(st.integers(0, 10**6))
def test_an_empty_mask_is_a_relu_bit_by_bit(seed: int):
    torch.manual_seed(seed)
    z = torch.randn(3, 2, 4)
    assert torch.equal(GraftedReLU(torch.zeros(2, 4, dtype=torch.bool), 5.0, 7.0)(z), z.relu())


def test_a_full_mask_is_a_line():
    slope, intercept = torch.randn(4), torch.randn(4)
    z = torch.randn(5, 4)
    assert torch.equal(GraftedReLU(torch.ones(4, dtype=torch.bool), slope, intercept)(z), slope * z + intercept)


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
@pytest.mark.parametrize("mask", [[True] * 3, [False] * 3, [True, False, True]], ids=str)
def test_first_and_second_derivatives(check, mask: list[bool]):
    torch.manual_seed(0)
    grafted = GraftedReLU(torch.tensor(mask), dtype=torch.float64)

    def function(z: torch.Tensor, slope: torch.Tensor, intercept: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(grafted, {"slope": slope, "intercept": intercept}, (z,))

    lines = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert check(function, (away_from_kinks(4, 3), *lines))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("transform", [torch.func.jacrev, torch.func.jacfwd], ids=["jacrev", "jacfwd"])
def test_torchs_transforms_of_functions(transform) -> None:
    jacobian = torch.func.vmap(transform(lambda z: activation([True, False, True])(z[None])[0]))
    found = jacobian(torch.tensor([[1.0, 2.0, -3.0], [1.0, -2.0, 3.0]]))
    torch.testing.assert_close(found, torch.stack([torch.tensor([0.4, active, 0.4]).diag() for active in (1.0, 0.0)]))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_forward_derivatives() -> None:
    z, grafted = torch.tensor([[1.0, 2.0, -3.0]]), activation([True, False, True])
    with forward_ad.dual_level():
        derivative = forward_ad.unpack_dual(grafted(forward_ad.make_dual(z, torch.ones_like(z)))).tangent
    torch.testing.assert_close(derivative, torch.tensor([[0.4, 1.0, 0.4]]))


def test_gradients_reach_slopes_and_intercepts_of_grafted_neurons_only():
    grafted = activation([True, False, True])
    z = torch.tensor([[1.0, 2.0, -3.0]], requires_grad=True)
    grafted(z).sum().backward()
    assert grafted.slope.grad.tolist() == [1, 0, -3]
    assert grafted.intercept.grad.tolist() == [1, 0, 1]
    torch.testing.assert_close(z.grad, torch.tensor([[0.4, 1.0, 0.4]]))


def test_the_mask_is_fixed_and_stored():
    grafted = activation([True, False])
    assert set(grafted.state_dict()) == {"mask", "slope", "intercept"}
    assert [name for name, _ in grafted.named_parameters()] == ["slope", "intercept"]
    assert not grafted.mask.requires_grad
    assert "1 of 2 neurons linear" in repr(grafted)


def test_the_callers_tensors_are_copied():
    mask, slope = torch.tensor([True]), torch.tensor([1.0])
    grafted = GraftedReLU(mask, slope)
    mask[0], slope[0] = False, 9.0
    assert grafted.mask.tolist() == [True] and grafted.slope.tolist() == [1]


def test_precision_is_as_asked():
    assert GraftedReLU(torch.tensor([True]), 0.1, dtype=torch.float64).slope.item() == 0.1
    assert activation([True]).slope.dtype == torch.get_default_dtype()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_mask_that_is_not_boolean_is_refused(dtype: torch.dtype):
    with pytest.raises(MaskError, match=f"boolean, not {dtype}"):
        GraftedReLU(torch.ones(2, dtype=dtype))


@pytest.mark.parametrize("what", ["slope", "intercept"])
@pytest.mark.parametrize("shape", [(1,), (3,), (2, 2)], ids=str)
def test_initial_values_of_another_shape_are_refused(what: str, shape: tuple[int, ...]):
    with pytest.raises(MaskError, match=f"the {what} of shape .* does not fit a mask of shape \\(2,\\)"):
        GraftedReLU(torch.tensor([True, False]), **{what: torch.ones(shape)})


@pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 2, 2)], ids=str)
def test_neurons_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(MaskError, match=r"a graft mask of shape \(2,\) on neurons of shape"):
        activation([True, False])(torch.zeros(shape))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_check_of_the_shape_does_not_disturb_tracing():
    """TorchScript's tracer warns of comparisons that it cannot keep; warnings are errors here."""
    grafted, z = activation([True, False]), torch.randn(3, 2)
    assert torch.equal(torch.jit.trace(grafted, (torch.zeros(1, 2),))(z), grafted(z))
