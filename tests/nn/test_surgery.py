"""Grafting, pruning and going back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from oracles import affine_minimum
from sample_networks import Residual, Reused, assembled, random_box
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import MaskError, UnsupportedError
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.nn.surgery import graft, grafted_modules, prune, ungraft

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (2, 4, 4)


class Functional(nn.Module):
    """Activations as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.fc = nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv(x)).flatten(1)
        return self.fc(torch.relu(x - 0.1))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "sequential": lambda: assembled(["conv", "batch norm"], SHAPE).float(),
    "residual": lambda: nn.Sequential(Residual(2, 2, 1), Residual(2, 3, 2), nn.Flatten(), nn.Linear(12, 2)),
    "functional": Functional,
    "reused": lambda: nn.Sequential(Reused(2), nn.Flatten(), nn.Linear(32, 2)),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def filled(model: nn.Module, fraction: float) -> dict[str, Tensor]:
    sites = from_module(model, SHAPE).sites
    return {site: torch.rand(shape) < fraction for site, shape in sites.items()}


def images(count: int = 5) -> Tensor:
    return torch.randn(count, *SHAPE)


def test_an_empty_mask_changes_no_bit(model: nn.Module):
    x = images()
    assert torch.equal(graft(model, filled(model, 0), 3.0, 2.0)(x), model(x))
    assert torch.equal(graft(model, {})(x), model(x))


def test_masked_neurons_are_linear_and_the_others_are_not(model: nn.Module):
    masks = filled(model, 0.5)
    copy = graft(model, masks, 0.7, 0.2)
    seen: dict[str, Tensor] = {}
    for site, module in grafted_modules(copy).items():
        module.register_forward_hook(lambda _m, z, y, site=site: seen.update({site: torch.stack([z[0], y])}))
    copy(images())
    assert list(seen) == list(masks)
    for site, mask in masks.items():
        z, y = seen[site]
        torch.testing.assert_close(y, torch.where(mask, 0.7 * z + 0.2, z.relu()))


def test_a_full_mask_makes_the_network_affine(model: nn.Module):
    copy = graft(model, filled(model, 1)).double()
    x, y = images(1).double(), images(1).double()
    torch.testing.assert_close(copy(0.3 * x + 0.7 * y), 0.3 * copy(x) + 0.7 * copy(y))
    network, box = from_module(copy, SHAPE), random_box(SHAPE, 1, 0.5)
    row = torch.randn(1, 1, 2, dtype=torch.float64) if network.output.shape == (2,) else torch.randn(1, 1, 3).double()
    corner = row @ copy(box.lower).unsqueeze(2)
    assert affine_minimum(network, box, row).item() <= corner.item() + 1e-9


def test_the_original_is_not_touched(model: nn.Module):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copy = graft(model, filled(model, 0.5))
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.add_(1)
    assert not grafted_modules(model)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_state_dict_keys_are_the_models_and_three_per_site(model: nn.Module):
    masks = filled(model, 0.5)
    added = {f"{site}.{what}" for site in masks for what in ("mask", "slope", "intercept")}
    assert set(graft(model, masks).state_dict()) == set(model.state_dict()) | added


def test_sites_keep_their_names_shapes_and_order(model: nn.Module):
    copy = graft(model, filled(model, 0.5))
    assert list(from_module(copy, SHAPE).sites.items()) == list(from_module(model, SHAPE).sites.items())


def test_a_site_left_out_stays_a_relu(model: nn.Module):
    masks = filled(model, 1)
    for site in masks:
        copy = graft(model, {site: masks[site]})
        network = from_module(copy, SHAPE)
        assert list(grafted_modules(copy)) == [site]
        assert [s for s in network.sites if network.grafted_mask(s).any()] == [site]


def test_ungrafting_gives_the_plain_network_back(model: nn.Module):
    copy = graft(model, filled(model, 0.5))
    back = ungraft(copy)
    x = images()
    assert not torch.equal(copy(x), model(x))
    assert torch.equal(back(x), model(x))
    assert set(back.state_dict()) == set(model.state_dict())
    assert len(grafted_modules(copy)) > 0  # ungraft copies


def test_pruned_neurons_are_zero_and_do_not_learn(model: nn.Module):
    masks = filled(model, 0.5)
    copy = prune(model, masks)
    for module in grafted_modules(copy).values():
        assert not module.slope.requires_grad and not module.intercept.requires_grad
        z = torch.randn(2, *module.mask.shape)
        assert (module(z)[:, module.mask] == 0).all()
        assert torch.equal(module(z)[:, ~module.mask], z.relu()[:, ~module.mask])
    assert all(p.requires_grad for name, p in copy.named_parameters() if not name.endswith(("slope", "intercept")))


def test_gradients_reach_grafted_slopes_only(model: nn.Module):
    masks = filled(model, 0.5)
    copy = graft(model, masks)
    copy(images(20)).square().sum().backward()
    for site, module in grafted_modules(copy).items():
        for parameter in (module.slope, module.intercept):
            assert (parameter.grad[~masks[site]] == 0).all()
            assert (parameter.grad[masks[site]] != 0).any()


def test_grafting_twice_replaces_the_first_graft(model: nn.Module):
    first, second = filled(model, 0.5), filled(model, 0.2)
    x = images()
    torch.testing.assert_close(graft(graft(model, first, 0.9), second, 0.1)(x), graft(model, second, 0.1)(x))


def test_the_state_dict_of_one_grafted_copy_loads_into_another(model: nn.Module):
    masks = filled(model, 0.5)
    first, second = graft(model, masks, 0.9, 0.1), graft(model, {s: ~m for s, m in masks.items()})
    second.load_state_dict(first.state_dict())
    x = images()
    assert torch.equal(first(x), second(x))


def test_initial_lines_may_differ_by_neuron():
    fc = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    slope = {"1": torch.tensor([0.1, 0.2])}
    copy = graft(fc, {"1": torch.tensor([True, True])}, slope, {"1": torch.tensor([3.0, 4.0])})
    assert copy.get_submodule("1").slope.tolist() == pytest.approx([0.1, 0.2])
    assert copy.get_submodule("1").intercept.tolist() == [3, 4]


def test_a_double_model_gets_double_slopes():
    fc = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).double()
    copy = graft(fc, {"1": torch.tensor([True, False])}, 0.1)
    assert {p.dtype for p in copy.parameters()} == {torch.float64}
    assert copy.get_submodule("1").slope[0].item() == 0.1
    assert copy.get_submodule("1").mask.dtype == torch.bool


def test_a_copy_follows_its_models_device():
    with torch.device("meta"):
        fc = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    copy = graft(fc, {"1": torch.tensor([True, False])})
    assert {t.device.type for t in copy.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_kept(training: bool):
    fc = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU()).train(training)
    for copy in (graft(fc, {"2": torch.tensor([True, False])}), ungraft(fc), prune(fc, {})):
        assert {m.training for m in copy.modules()} == {training}


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU())


def test_a_mask_for_an_unknown_site_is_refused():
    with pytest.raises(MaskError, match=r"names site '7', the model has \['1'\]"):
        graft(plain(), {"7": torch.tensor([True, True])})


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1)], ids=str)
def test_a_mask_of_another_shape_is_refused_at_the_first_call(shape: tuple[int, ...]):
    copy = graft(plain(), {"1": torch.ones(shape, dtype=torch.bool)})
    with pytest.raises(MaskError, match="on neurons of shape"):
        copy(torch.zeros(1, 2))
    with pytest.raises(MaskError, match="on neurons of shape"):
        from_module(copy, (2,))


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(MaskError, match=r"boolean, not torch\.uint8"):
        graft(plain(), {"1": torch.ones(2, dtype=torch.uint8)})


def test_initial_lines_that_lack_a_site_are_refused():
    with pytest.raises(MaskError, match="the slope has no values for site '1'"):
        graft(plain(), {"1": torch.tensor([True, True])}, {"other": torch.ones(2)})


def test_initial_lines_of_another_shape_are_refused():
    with pytest.raises(MaskError, match=r"the intercept of shape \(3,\)"):
        graft(plain(), {"1": torch.tensor([True, True])}, 0.4, {"1": torch.ones(3)})


def test_a_model_that_cannot_be_traced_is_refused():
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else x.relu()

    with pytest.raises(UnsupportedError, match="Branching cannot be traced"):
        graft(Branching(), {})


def test_a_grafted_module_that_is_called_twice_keeps_one_line():
    shared = GraftedReLU(torch.tensor([True, False]))
    model = nn.Sequential(nn.Linear(2, 2), shared, nn.Linear(2, 2), shared)
    copy = graft(model, {})
    x = torch.randn(3, 2)
    assert torch.equal(copy(x), model(x))
    sites = list(grafted_modules(copy).values())
    assert len(sites) == 2 and sites[0].slope is sites[1].slope
