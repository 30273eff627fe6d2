"""Certified training: its bounds are those of the verification, sound, and differentiable in the weights."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from oracles import random_points
from torch import Tensor, nn

from abcrown_graft.bounds.propagate import bound_network, margin_lower_bounds
from abcrown_graft.geometry.robustness import linf_box, robustness_rows
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.training.certified import certified_accuracy, certified_loss, margin_bounds, worst_cross_entropy
from abcrown_graft.training.method import BatchLoss, Step
from abcrown_graft.training.methods.certified import Certified, CrownIbp, Ibp

EPSILON = 0.1
LABELS = torch.tensor([0, 2, 1, 2])


def loss_of(
    method: Certified, model: nn.Module, images: Tensor, progress: float, epsilon: float = EPSILON
) -> BatchLoss:
    return method.loss(Step(model, images, LABELS, epsilon, 1.25, torch.Generator(), progress))


@pytest.fixture
def model() -> nn.Module:
    """Convolution, batch norm with statistics of its own, grafted and plain activations; float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4),
            GraftedReLU(torch.rand(4, 3, 3) < 0.4),
            nn.Flatten(),
            nn.Linear(36, 6),
            nn.ReLU(),
            nn.Linear(6, 3),
        ).double()
        layers(torch.rand(16, 2, 5, 5).double())
    return layers.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 2, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradients(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.parametrize("method", [Ibp, CrownIbp])
def test_without_a_radius_the_loss_is_the_cross_entropy(
    model: nn.Module, images: Tensor, method: type[Certified]
) -> None:
    found = loss_of(method(), model, images, 4.0, epsilon=0.0)
    expected = F.cross_entropy(model(images), LABELS)
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.logits, model(images))
    slopes = gradients(expected, model)
    for name, gradient in gradients(found.loss, model).items():
        torch.testing.assert_close(gradient, slopes[name], msg=f"gradient of {name}")


def test_crown_margins_are_those_of_the_verification(model: nn.Module, images: Tensor) -> None:
    network, box, rows = (
        from_module(model, (2, 5, 5)),
        linf_box(images, EPSILON),
        robustness_rows(LABELS, 3, torch.float64),
    )
    expected = margin_lower_bounds(bound_network(network, box, "interval"), rows)
    torch.testing.assert_close(margin_bounds(network, box, LABELS, 1.0), expected, rtol=0, atol=0)


def test_interval_margins_are_those_of_the_network_of_margins(model: nn.Module, images: Tensor) -> None:
    """Image by image, the verification's interval bounds of a network whose last layer gives the margins."""
    rows, box = robustness_rows(LABELS, 3, torch.float64), linf_box(images, EPSILON)
    found = margin_bounds(from_module(model, (2, 5, 5)), box, LABELS, 0.0)
    for image in range(4):
        merged = copy.deepcopy(model)
        merged[-1] = nn.Linear(6, 2).double()
        merged[-1].weight.data, merged[-1].bias.data = rows[image] @ model[-1].weight, rows[image] @ model[-1].bias
        bounds = bound_network(from_module(merged, (2, 5, 5)), box[image : image + 1], "interval")
        torch.testing.assert_close(found[image], bounds.output.lower[0])
    unmerged = margin_lower_bounds(bound_network(from_module(model, (2, 5, 5)), box, "interval"), rows, "interval")
    assert (found >= unmerged).all() and (found > unmerged + 1e-6).any()


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_margins_hold_at_random_points(model: nn.Module, images: Tensor, beta: float) -> None:
    box, rows = linf_box(images, EPSILON), robustness_rows(LABELS, 3, torch.float64)
    bounds = margin_bounds(from_module(model, (2, 5, 5)), box, LABELS, beta)
    points = random_points(box, 500)
    outputs = model(points.flatten(0, 1)).unflatten(0, (4, -1))
    margins = torch.einsum("bso,bno->bns", rows, outputs)
    assert (margins >= bounds.unsqueeze(1) - 1e-12).all()


@pytest.mark.parametrize(("method", "progress"), [(Ibp, 4.0), (CrownIbp, 1.0), (CrownIbp, 4.0)])
def test_gradients_equal_central_differences(
    model: nn.Module, images: Tensor, method: type[Certified], progress: float
) -> None:
    """Of weights, batch norm, slopes and intercepts; half way through the schedule and at its end."""
    chosen = method(epsilon_length=2.0)

    def loss() -> Tensor:
        return loss_of(chosen, model, images, progress).loss

    step = 1e-6
    for name, gradient in gradients(loss(), model).items():
        entries, found = model.get_parameter(name).data.view(-1), gradient.reshape(-1)
        for index in range(0, len(entries), 1 + len(entries) // 5):
            old = entries[index].item()
            entries[index] = old + step
            up = loss().item()
            entries[index] = old - step
            down = loss().item()
            entries[index] = old
            assert found[index].item() == pytest.approx((up - down) / (2 * step), abs=1e-7), f"{name} {index}"
        assert found.abs().max() > 1e-4 or name in ("2.slope", "2.intercept", "0.bias")


@pytest.mark.parametrize("method", [Ibp, CrownIbp])
def test_the_loss_before_epsilon_grows_is_the_cross_entropy(
    model: nn.Module, images: Tensor, method: type[Certified]
) -> None:
    chosen = method(epsilon_start=1.0, epsilon_length=2.0)
    assert loss_of(chosen, model, images, 0.9).loss == F.cross_entropy(model(images), LABELS)


def test_half_way_radius_and_weights_are_half_way(model: nn.Module, images: Tensor) -> None:
    chosen = CrownIbp(epsilon_start=1.0, epsilon_length=2.0, kappa=0.5)
    margins = margin_bounds(from_module(model, (2, 5, 5)), linf_box(images, EPSILON / 2), LABELS, 0.5)
    expected = 0.75 * F.cross_entropy(model(images), LABELS) + 0.25 * worst_cross_entropy(margins)
    torch.testing.assert_close(loss_of(chosen, model, images, 2.0).loss, expected)


def test_only_the_clean_pass_sees_train_mode(model: nn.Module, images: Tensor) -> None:
    model.train()
    counted = int(model[1].num_batches_tracked)
    loss_of(Ibp(), model, images, 4.0)
    assert model[1].num_batches_tracked == counted + 1 and all(module.training for module in model.modules())


def test_neurons_that_are_zero_everywhere_have_finite_gradients() -> None:
    """Black pixels and no bias: lower and upper bound are both 0."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    loss = certified_loss(net, torch.zeros(2, 3), torch.tensor([0, 1]), epsilon=0.0, kappa=0.75, beta=0.5).loss
    assert all(bool(gradient.isfinite().all()) for gradient in gradients(loss, net).values())


def test_certified_accuracy_counts_positive_margins_and_never_nan(model: nn.Module, images: Tensor) -> None:
    network, labels = from_module(model, (2, 5, 5)), model(images).argmax(1)
    shares = []
    for epsilon in (0.0, 0.005, 0.02, 0.5):
        interval, crown = (margin_bounds(network, linf_box(images, epsilon), labels, beta) for beta in (0.0, 1.0))
        assert certified_accuracy(model, images, labels, epsilon, False) == (interval > 0).all(1).double().mean()
        either = torch.maximum(interval, crown) > 0
        shares.append(certified_accuracy(model, images, labels, epsilon, True))
        assert shares[-1] == either.all(1).double().mean()
    assert shares[0] == 1.0 and shares[-1] == 0.0
    model[-1].bias.data[:] = torch.nan
    assert certified_accuracy(model, images, labels, 0.0, True) == 0.0


def test_a_network_for_verification_needs_no_gradient(model: nn.Module) -> None:
    def constants(attached: bool) -> list[Tensor]:
        nodes = from_module(model, (2, 5, 5), attached=attached).nodes
        return [value for node in nodes for value in vars(node.operator).values() if isinstance(value, Tensor)]

    assert not any(value.requires_grad for value in constants(False))
    learnt = [value.requires_grad for value in constants(True) if value.is_floating_point()]
    assert learnt and all(learnt)
