from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from abcrown_graft.attack.pgd import AttackResult, PGDSettings, pgd_attack
from abcrown_graft.geometry.box import Box
from abcrown_graft.geometry.robustness import linf_box, robustness_rows
from abcrown_graft.geometry.specification import Specification
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = PGDSettings(steps=12, restarts=3)


def attack(network: Network, box: Box, rows: torch.Tensor, settings: PGDSettings, seeds: Sequence[int]) -> AttackResult:
    """Every row is a clause of its own."""
    specification = Specification(box, rows.unsqueeze(2), rows.new_zeros(*rows.shape[:2], 1))
    return pgd_attack(network, specification, settings, seeds)


def relu_net(seed: int = 0, dtype: torch.dtype = torch.float32) -> Network:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
    return from_module(module, (3, 2, 2)).to(dtype=dtype)


def linear_net(weight: torch.Tensor, bias: torch.Tensor) -> Network:
    module = nn.Linear(weight.shape[1], weight.shape[0])
    module.weight.data, module.bias.data = weight, bias
    return from_module(nn.Sequential(module), (weight.shape[1],))


def images_and_rows(count: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, 2, 2, generator=generator).to(dtype)
    return images, robustness_rows(torch.arange(count) % 4, 4, dtype)


def smallest_margins(network: Network, rows: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bso,bo->bs", rows, evaluate(network, points)).amin(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [None, 0.3, 1e-9])
def test_points_are_in_the_box_exactly_and_have_the_margins_that_are_reported(dtype, alpha):
    network = relu_net(dtype=dtype)
    images, rows = images_and_rows(40, dtype)
    box = linf_box(images, 0.1)
    found = attack(network, box, rows, PGDSettings(8, 3, alpha, early_stop=False), range(40))
    assert found.points.dtype == dtype
    assert bool(((found.points >= box.lower) & (found.points <= box.upper)).all())
    torch.testing.assert_close(found.margins, smallest_margins(network, rows, found.points))


def test_points_are_in_boxes_that_are_points_or_far_from_the_unit_cube():
    network = relu_net()
    _, rows = images_and_rows(2)
    lower = torch.cat([torch.full((1, 3, 2, 2), 0.3), torch.full((1, 3, 2, 2), -1e3)])
    box = Box(lower, lower + torch.tensor([0.0, 7.3]).view(2, 1, 1, 1))
    found = attack(network, box, rows, PGDSettings(8, 3, early_stop=False), [0, 1])
    assert torch.equal(found.points[0], lower[0])
    assert bool(((found.points >= box.lower) & (found.points <= box.upper)).all())


def test_the_exact_worst_case_of_a_linear_classifier_is_found():
    """min over the box of w x + b is w c + b - |w| r; signed steps walk into that corner."""
    torch.manual_seed(3)
    weight, bias = torch.randn(5, 8), torch.randn(5)
    network = linear_net(weight, bias)
    images = torch.rand(60, 8)
    rows = robustness_rows(evaluate(network, images).argmax(1), 5, torch.float32)
    box = linf_box(images, 0.1)
    coefficients = rows @ weight
    centre, radius = (box.lower + box.upper) / 2, (box.upper - box.lower) / 2
    exact = (coefficients @ centre.unsqueeze(2) - coefficients.abs() @ radius.unsqueeze(2)).squeeze(2)
    exact = (exact + rows @ bias).amin(1)
    found = attack(network, box, rows, PGDSettings(20, 1, early_stop=False), range(60))
    torch.testing.assert_close(found.margins, exact, atol=1e-5, rtol=0)
    quick = attack(network, box, rows, PGDSettings(20, 1), range(60))
    decided = exact.abs() > 1e-4
    assert 5 < int((exact <= 0).sum()) < 55
    assert torch.equal((quick.margins <= 0)[decided], exact[decided] <= 0)


@pytest.mark.parametrize("early_stop", [True, False])
def test_an_image_s_result_does_not_depend_on_the_others_nor_on_the_batch_size(early_stop):
    network = relu_net(dtype=torch.float64)
    images, rows = images_and_rows(9, torch.float64)
    settings = PGDSettings(12, 4, early_stop=early_stop)
    together = attack(network, linf_box(images, 0.05), rows, settings, range(100, 109))
    for k in (0, 4, 8):
        alone = attack(network, linf_box(images[k : k + 1], 0.05), rows[k : k + 1], settings, [100 + k])
        torch.testing.assert_close(alone.points[0], together.points[k], atol=1e-9, rtol=0)
    for batch_size in (1, 7):
        small = PGDSettings(12, 4, early_stop=early_stop, batch_size=batch_size)
        found = attack(network, linf_box(images, 0.05), rows, small, range(100, 109))
        torch.testing.assert_close(found.points, together.points, atol=1e-9, rtol=0)
    back = attack(network, linf_box(images.flip(0), 0.05), rows.flip(0), settings, range(108, 99, -1))
    torch.testing.assert_close(back.points.flip(0), together.points, atol=1e-9, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_stopping_early_finds_the_same_successes(seed):
    network = relu_net(seed, torch.float64)
    images, rows = images_and_rows(60, torch.float64)
    box = linf_box(images, 0.03)
    full = attack(network, box, rows, PGDSettings(25, 3, alpha=0.002, early_stop=False), range(60))
    early = attack(network, box, rows, PGDSettings(25, 3, alpha=0.002), range(60))
    assert torch.equal((early.margins <= 0), (full.margins <= 0))
    going = ~(full.margins <= 0)
    torch.testing.assert_close(early.margins[going], full.margins[going])
    assert 0 < int((full.margins <= 0).sum()) < 60


def test_a_seed_gives_one_result_and_another_seed_another():
    network = relu_net()
    images, rows = images_and_rows(6)
    box = linf_box(images, 0.1)
    settings = PGDSettings(steps=1, restarts=2, early_stop=False)
    first, again, other = (attack(network, box, rows, settings, [seed] * 6) for seed in (7, 7, 8))
    assert torch.equal(first.points, again.points)
    assert not torch.equal(first.points, other.points)
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    attack(network, box, rows, settings, [7] * 6)
    assert torch.equal(torch.rand(1), before), "the global random state is not touched"


def only_class_is_reachable(target: int, classes: int) -> Network:
    """Class 0 scores 1, class k scores -0.1 k - 0.5 x₀, and only `target` can win: 40 x₀ - 34.

    The gradient of every other margin leads away from it.
    """
    weight, bias = torch.zeros(classes, 2), -0.1 * torch.arange(classes)
    weight[1:, 0] = -0.5
    bias[0] = 1.0
    weight[target, 0], bias[target] = 40.0, -34.0
    return linear_net(weight, bias)


@pytest.mark.parametrize("target", range(1, 10))
@pytest.mark.parametrize("restarts", [1, 5, 9, 30])
def test_every_target_is_tried_whatever_the_number_of_restarts(target, restarts):
    """The box is x₀ in [0, 0.9]: 40 x₀ - 34 > 1 needs x₀ > 0.875, where only targeted starts go."""
    network = only_class_is_reachable(target, 10)
    box = Box(torch.zeros(1, 2), torch.tensor([[0.9, 0.9]]))
    rows = robustness_rows(torch.tensor([0]), 10, torch.float32)
    untargeted = evaluate(network, torch.zeros(1, 2))[0]
    assert int(untargeted.argsort()[0]) == target, "the least likely class at the start"
    found = attack(network, box, rows, PGDSettings(steps=20, restarts=restarts), [0])
    assert bool(found.margins <= 0)
    assert int(evaluate(network, found.points).argmax()) == target


def test_an_image_keeps_its_targets_when_others_are_done():
    """The first image is fooled at once; the others have farther to go, and their margins in another order."""
    network = only_class_is_reachable(9, 10)
    lower = torch.tensor([[0.0, 0.0]] + [[-1.5, 0.0]] * 6)
    box = Box(lower, torch.full((7, 2), 0.9))
    rows = robustness_rows(torch.zeros(7, dtype=torch.int64), 10, torch.float32)
    rows[1:] = rows[1:].flip(1)
    found = attack(network, box, rows, PGDSettings(steps=30, restarts=1, alpha=0.1125), range(7))
    assert (found.margins <= 0).tolist() == [True] * 7


def test_without_steps_the_centre_and_the_starts_are_evaluated():
    network = relu_net()
    images, rows = images_and_rows(5)
    box = linf_box(images, 0.1)
    found = attack(network, box, rows, PGDSettings(steps=0, restarts=1, early_stop=False), range(5))
    centre = smallest_margins(network, rows, (box.lower + box.upper) / 2)
    assert bool((found.margins <= centre).all())
    assert bool((found.margins < centre).any())


def test_more_effort_never_gives_a_larger_margin():
    network = relu_net(dtype=torch.float64)
    images, rows = images_and_rows(30, torch.float64)
    box = linf_box(images, 0.1)
    margins = [
        attack(network, box, rows, PGDSettings(10, restarts, early_stop=False), range(30)).margins
        for restarts in (4, 10, 25)
    ]
    assert bool((margins[1] <= margins[0]).all())
    assert bool((margins[2] <= margins[1]).all())


def test_one_target_and_one_restart_are_enough_for_two_classes():
    network = linear_net(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.zeros(2))
    rows = robustness_rows(torch.tensor([0, 0]), 2, torch.float32)
    box = linf_box(torch.tensor([[0.55, 0.45], [0.9, 0.1]]), 0.1)
    found = attack(network, box, rows, PGDSettings(restarts=1), [0, 1])
    assert (found.margins <= 0).tolist() == [True, False]
    torch.testing.assert_close(found.points[1], torch.tensor([0.8, 0.2]))


@pytest.mark.parametrize(("alpha", "length"), [(0.01, 0.01), (1e-4, 1e-4), (None, 0.0125)])
def test_the_length_of_a_step_is_alpha_decayed(alpha, length):
    """The margin is x + 10 on [0, 0.1]; without alpha a step is a quarter of the half-width."""
    network = linear_net(torch.tensor([[1.0], [0.0]]), torch.tensor([10.0, 0.0])).to(dtype=torch.float64)
    rows = robustness_rows(torch.tensor([0]), 2, torch.float64)
    box = Box(torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 0.1, dtype=torch.float64))

    def reached(steps: int, seed: int) -> float:
        settings = PGDSettings(steps, 1, alpha, lr_decay=0.5, early_stop=False)
        return float(attack(network, box, rows, settings, [seed]).points)

    starts = {seed: reached(0, seed) for seed in range(20)}
    far = [seed for seed, start in starts.items() if 0.03 < start < 0.05]
    assert far
    for seed in far:
        assert reached(3, seed) == pytest.approx(starts[seed] - 1.75 * length, abs=1e-12)


def test_a_network_that_answers_nan_is_not_fooled():
    network = linear_net(torch.full((3, 2), float("nan")), torch.zeros(3))
    rows = robustness_rows(torch.tensor([0]), 3, torch.float32)
    found = attack(network, linf_box(torch.full((1, 2), 0.5), 0.1), rows, QUICK, [0])
    assert (found.margins <= 0).tolist() == [False]
    assert bool(torch.isfinite(found.points).all())
