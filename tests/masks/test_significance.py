"""Significance scores against naive loops over images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sample_networks import assembled, grafted
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import ConfigError, DataError
from abcrown_graft.masks.options import HEURISTICS
from abcrown_graft.masks.significance import significance
from abcrown_graft.network.graph import Network
from abcrown_graft.network.trace import from_module

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (2, 5, 5)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return grafted(assembled(["residual", "strided"], SHAPE), SHAPE, 0.3)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(7, *SHAPE, dtype=torch.float64), torch.randint(3, (7,))


def one_by_one(module: nn.Module, sites: list[str], images: Tensor, labels: Tensor) -> dict[str, list[tuple]]:
    """Pre-activation and loss gradient of every site on every image, by hooks on the module."""
    found: dict[str, list[tuple]] = {site: [] for site in sites}
    for image, label in zip(images, labels, strict=True):
        inputs: dict[str, Tensor] = {}
        hooks = [module.get_submodule(site).register_forward_pre_hook(keep_input(inputs, site)) for site in sites]
        functional.cross_entropy(module(image.unsqueeze(0)), label.unsqueeze(0)).backward()
        for hook in hooks:
            hook.remove()
        for site in sites:
            found[site].append((inputs[site].detach()[0], inputs[site].grad[0]))
    return found


def keep_input(inputs: dict[str, Tensor], site: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def hook(_module: nn.Module, arguments: tuple[Tensor]) -> None:
        arguments[0].retain_grad()
        inputs[site] = arguments[0]

    return hook


EXPECTED = {
    "gradient": lambda pairs: torch.stack([g.abs() for _, g in pairs]).mean(0),
    "magnitude": lambda pairs: torch.stack([z.abs() for z, _ in pairs]).mean(0),
    "variance": lambda pairs: torch.stack([z for z, _ in pairs]).var(0, unbiased=False),
}


def test_every_heuristic_has_an_independent_formula():
    assert set(HEURISTICS.names()) == {*EXPECTED, "interval"}  # its formula is in test_interval_score


@pytest.mark.parametrize("method", EXPECTED)
def test_scores_are_those_of_a_loop_over_images(module: nn.Module, data: tuple[Tensor, Tensor], method: str):
    network = from_module(module, SHAPE)
    scores = significance(network, *data, method)
    expected = one_by_one(module, list(network.sites), *data)
    assert {site: tuple(score.shape) for site, score in scores.items()} == dict(network.sites)
    for site, score in scores.items():
        assert score.dtype == torch.float64
        torch.testing.assert_close(score, EXPECTED[method](expected[site]))
        assert score.max() > 0


@pytest.mark.parametrize("method", EXPECTED)
@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_scores_do_not_depend_on_the_batch_size(
    module: nn.Module, data: tuple[Tensor, Tensor], method: str, batch_size: int
):
    network = from_module(module, SHAPE)
    whole = significance(network, *data, method)
    for site, score in significance(network, *data, method, batch_size).items():
        torch.testing.assert_close(score, whole[site])


def test_hand_computed_gradient():
    fc = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    with torch.no_grad():
        fc[0].weight.fill_(0.0)
        fc[0].bias.copy_(torch.tensor([1.0, 1.0]))
    scores = significance(from_module(fc, (1,)), torch.zeros(1, 1), torch.tensor([0]))
    assert scores["1"].tolist() == [0.5, 0.5]  # |softmax - one hot| behind two active neurons


def test_the_variance_of_one_image_is_zero(module: nn.Module, data: tuple[Tensor, Tensor]):
    scores = significance(from_module(module, SHAPE), data[0][:1], data[1][:1], "variance")
    assert all((score == 0).all() for score in scores.values())


def test_variance_survives_a_large_mean():
    fc = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).double()
    with torch.no_grad():
        fc[0].weight.fill_(1.0)
    images = 1e4 + torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    score = significance(from_module(fc, (1,)), images, torch.zeros(2, dtype=torch.long), "variance")["1"]
    assert score.item() == pytest.approx(1.0, abs=1e-6)


def small() -> Network:
    return from_module(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), (2,))


@pytest.mark.parametrize("method", EXPECTED)
def test_a_nan_is_refused_with_the_site(method: str):
    images = torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])
    with pytest.raises(DataError, match=f"significance \\({method}\\): NaN or infinite scores at site '1'"):
        significance(small(), images, torch.tensor([0, 1]), method)


def test_no_images_are_refused():
    with pytest.raises(DataError, match="at least one image"):
        significance(small(), torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'gradient'"):
        significance(small(), torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), "gradients")


def test_the_callers_images_stay_free_of_gradients(data: tuple[Tensor, Tensor], module: nn.Module):
    significance(from_module(module, SHAPE), *data)
    assert not data[0].requires_grad and data[0].grad is None
