"""The one-step attack and GradAlign against independent, naive versions."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.training.fat import fat_loss, fat_perturbation, gradalign

EPSILON = 0.1


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def naive_perturbation(model: nn.Module, images: Tensor, labels: Tensor, step: float, seed: int) -> Tensor:
    """The words of the method, one after the other."""
    model = copy.deepcopy(model).eval()
    delta = torch.rand(images.shape, generator=seeded(seed)) * 2 * EPSILON - EPSILON
    delta = (torch.clamp(images + delta, 0, 1) - images).requires_grad_()
    F.cross_entropy(model(images + delta), labels).backward()
    delta = torch.clamp(delta.detach() + step * EPSILON * torch.sign(delta.grad), -EPSILON, EPSILON)
    return torch.clamp(images + delta, 0, 1) - images


def naive_gradalign(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
    """One image after the other."""
    model = copy.deepcopy(model).eval()
    noise = torch.rand(images.shape, generator=seeded(seed)) * 2 * EPSILON - EPSILON
    cosines = []
    for image, label, delta in zip(images, labels, noise, strict=True):
        gradients = []
        for point in (image, image + delta):
            point = point.clone().requires_grad_()
            loss = F.cross_entropy(model(point[None]), label[None])
            gradients.append(torch.autograd.grad(loss, point)[0].flatten().double())
        if all(gradient.abs().max() > 0 for gradient in gradients):
            first, second = gradients
            cosines.append(first @ second / (first.norm() * second.norm()))
    return 1 - torch.stack(cosines).mean()


@pytest.mark.parametrize("step", [0.3, 1.25])
def test_perturbation_equals_the_naive_one(model: nn.Module, images: Tensor, labels: Tensor, step: float) -> None:
    delta = fat_perturbation(model, images, labels, EPSILON, step, seeded(7))
    torch.testing.assert_close(delta, naive_perturbation(model, images, labels, step, 7), atol=1e-6, rtol=0)
    assert delta.abs().max() > 0.5 * EPSILON


def test_perturbation_obeys_both_bounds_exactly(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    for seed in range(20):
        delta = fat_perturbation(model, images, labels, EPSILON, 1.25, seeded(seed))
        assert delta.abs().max() <= torch.tensor(EPSILON)
        assert (images + delta).min() >= 0 and (images + delta).max() <= 1


def test_perturbation_raises_the_loss(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    model.eval()
    delta = fat_perturbation(model, images, labels, EPSILON, 1.25, seeded(0))
    assert F.cross_entropy(model(images + delta), labels) > F.cross_entropy(model(images), labels)


def test_attack_and_gradalign_leave_modes_statistics_and_gradients_alone(
    model: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model.train()
    before = copy.deepcopy(model.state_dict())
    fat_perturbation(model, images, labels, EPSILON, 1.25, seeded(0))
    gradalign(model, images, labels, EPSILON, seeded(0))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradalign_equals_the_naive_one(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    value = gradalign(model, images, labels, EPSILON, seeded(3))
    assert value > 1e-3
    torch.testing.assert_close(value.double(), naive_gradalign(model, images, labels, 3), atol=1e-5, rtol=0)


class Gate(nn.Module):
    """Logits (relu(mean - 1/2) + curvature, 0): images darker than 1/2 on average have no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        z = (x.flatten(1).mean(1) - 0.5).relu() * (1 + x.flatten(1).square().sum(1))
        return torch.stack([z, torch.zeros_like(z)], 1)


def test_images_with_zero_gradient_are_left_out(images: Tensor) -> None:
    images = images.clone()
    images[0], images[5] = 0.1, 0.2
    images[1:5] = 0.5 + images[1:5] / 2
    images[6:] = 0.5 + images[6:] / 2
    labels = torch.ones(8, dtype=torch.int64)
    value = gradalign(Gate(), images, labels, EPSILON, seeded(3))
    torch.testing.assert_close(value.double(), naive_gradalign(Gate(), images, labels, 3), atol=1e-5, rtol=0)
    kept = [1, 2, 3, 4, 6, 7]
    assert 0 < value < 0.5  # two cosines of 0 would add a quarter
    assert len(kept) == (images.flatten(1).mean(1) > 0.5).sum()


def test_gradalign_without_any_gradient_is_zero() -> None:
    value = gradalign(Gate(), torch.zeros(3, 1, 4, 4), torch.ones(3, dtype=torch.int64), EPSILON, seeded(0))
    assert value.item() == 0.0


def test_gradalign_of_two_linear_logits_is_zero(images: Tensor) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(50, 2))
    value = gradalign(linear, images, torch.arange(8) % 2, EPSILON, seeded(0))
    assert value.item() == pytest.approx(0.0, abs=1e-6)


def test_gradalign_is_exact_for_confident_images() -> None:
    """Logit margins of 60: the squares of the gradients are below the smallest float32."""
    linear = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[30.0] * 4, [-30.0, 10.0, -30.0, -30.0]]))
    x, y = torch.full((3, 4), 0.3), torch.zeros(3, dtype=torch.int64)
    gradient = torch.autograd.functional.jacobian(lambda x: F.cross_entropy(linear(x), y), x)
    assert 0 < gradient.abs().max() and gradient.square().max() < 1e-38
    value = gradalign(linear, x, y, 0.01, seeded(0))
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    value.backward()
    assert torch.isfinite(linear.weight.grad).all()


def test_gradalign_is_differentiable_through_grafted_activations() -> None:
    """Its gradient equals central differences, weights, slopes and intercepts alike."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 6), nn.Softplus(), GraftedReLU(torch.arange(6) < 3), nn.Linear(6, 3))
    model = model.double()
    x, y = torch.rand(4, 5, generator=seeded(0)).double(), torch.tensor([0, 1, 2, 0])

    def value() -> Tensor:
        # g1 is detached in the loss, so its dependence on the parameters must not be differentiated either.
        first = [torch.autograd.grad(F.cross_entropy(start(x.requires_grad_()), y), x)[0].flatten(1)]
        noise = torch.rand(x.shape, generator=seeded(1), dtype=torch.float64) * 0.2 - 0.1
        point = (x + noise).detach().requires_grad_()
        second = torch.autograd.grad(F.cross_entropy(model(point), y), point)[0].flatten(1)
        return 1 - F.cosine_similarity(first[0], second).mean()

    start = copy.deepcopy(model)
    gradalign(model, x.detach(), y, 0.1, seeded(1)).backward()
    for parameter in (model[0].weight, model[2].slope, model[3].weight):
        entries, found = parameter.data.view(-1), parameter.grad.view(-1)
        for index in range(0, entries.numel(), 4):
            old, step = entries[index].item(), 1e-5
            entries[index] = old + step
            up = value().item()
            entries[index] = old - step
            down = value().item()
            entries[index] = old
            assert found[index].item() == pytest.approx((up - down) / (2 * step), abs=1e-7)
    assert model[0].weight.grad.abs().max() > 1e-3


def test_the_loss_is_cross_entropy_in_train_mode_plus_gradalign(
    model: nn.Module, images: Tensor, labels: Tensor
) -> None:
    twin, generator = copy.deepcopy(model).train(), seeded(5)
    delta = fat_perturbation(twin, images, labels, EPSILON, 1.25, generator)
    logits = twin(images + delta)
    expected = F.cross_entropy(logits, labels) + 0.7 * gradalign(twin, images, labels, EPSILON, generator)
    model.train()
    found = fat_loss(model, images, labels, EPSILON, 1.25, 0.7, seeded(5))
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.logits, logits)
    assert model[1].num_batches_tracked == 1  # one pass in train mode, no more


def test_without_gradalign_the_loss_is_the_cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    found = fat_loss(model, images, labels, EPSILON, 1.25, 0.0, seeded(5))
    torch.testing.assert_close(found.loss, F.cross_entropy(found.logits, labels))
