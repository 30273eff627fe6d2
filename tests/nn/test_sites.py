"""How activation sites are called."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import UnsupportedError
from abcrown_graft.models.build import build_model
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.activation import GraftedReLU
from abcrown_graft.nn.sites import site_names, symbolic_trace
from abcrown_graft.nn.surgery import graft

pytestmark = pytest.mark.usefixtures("one_thread")


def names(module: nn.Module) -> list[str]:
    return list(site_names(symbolic_trace(module)).values())


class Mixed(nn.Module):
    """A reused module, a nested one, functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.block = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(functional.relu(self.fc(x)))
        x = self.block(self.act(self.fc(x))).relu()
        return torch.relu(self.act(self.fc(x)))


MIXED = ["relu", "act", "act_1", "block.1", "relu_1", "act_2", "relu_2"]


def test_a_module_lends_its_qualified_name():
    assert names(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.ReLU()))) == ["1", "2.0"]


def test_resnet_sites_are_its_module_names():
    expected = ["relu1"]
    expected += [f"layer{k}.{j}.relu{i}" for k in (1, 2) for j in (0, 1) for i in (1, 2)]
    assert names(build_model("resnet_4b")[0]) == [*expected, "relu2"]


def test_further_calls_and_functions_get_names_of_their_own():
    assert names(Mixed()) == MIXED


def test_an_attribute_of_that_name_is_avoided():
    class Taken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.Linear(2, 2)
            self.register_buffer("relu_1", torch.ones(2))

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(self.relu(x) * self.relu_1)

    assert names(Taken()) == ["relu_2"]


@pytest.mark.parametrize("chosen", [[], ["act"], ["act_1"], ["relu_1", "act_2"], ["relu", "block.1", "relu_2"], MIXED])
def test_a_grafted_copy_has_the_same_sites(chosen: list[str]):
    copy = graft(Mixed(), {site: torch.tensor([True, False]) for site in chosen})
    network = from_module(copy, (2,))
    assert list(network.sites) == MIXED
    assert [site for site in MIXED if network.grafted_mask(site).any()] == [s for s in MIXED if s in chosen]


def test_leaky_relus_are_no_sites():
    assert names(nn.Sequential(nn.LeakyReLU(), nn.ReLU())) == ["1"]


def test_value_dependent_control_flow_cannot_be_traced():
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedError, match="Branching cannot be traced"):
        symbolic_trace(Branching())


def test_a_forward_that_raises_is_told_in_one_line():
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return self.missing(x)

    with pytest.raises(UnsupportedError, match=r"Broken cannot be traced: AttributeError: .*missing"):
        symbolic_trace(Broken())


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("place", ["", "1"])
def test_hooks_that_the_graph_would_not_know_of_are_refused(register: str, place: str):
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    getattr(module.get_submodule(place), register)(lambda *_: None)
    with pytest.raises(UnsupportedError, match="forward hook"):
        symbolic_trace(module)


def test_a_patched_forward_is_refused():
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    module[0].forward = lambda x: -x
    with pytest.raises(UnsupportedError, match=r"submodule '0' \(Linear\).*patched forward"):
        symbolic_trace(module)


@pytest.mark.parametrize("register", ["register_module_forward_hook", "register_module_forward_pre_hook"])
def test_a_hook_of_all_modules_is_refused(register: str):
    handle = getattr(nn.modules.module, register)(lambda *_: None)
    try:
        with pytest.raises(UnsupportedError, match="a forward hook for all modules"):
            symbolic_trace(nn.Sequential(nn.Linear(2, 2)))
    finally:
        handle.remove()


def test_a_call_of_its_own_is_refused():
    class Negated(nn.Linear):
        def __call__(self, x: Tensor) -> Tensor:
            return -super().__call__(x)

    with pytest.raises(UnsupportedError, match=r"submodule '0' \(Negated\) overrides __call__"):
        symbolic_trace(nn.Sequential(Negated(2, 2)))


def test_a_subclass_of_a_relu_is_what_its_forward_says():
    class Shifted(nn.ReLU):
        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(x) + 1

    x, module = torch.randn(3, 2), nn.Sequential(Shifted())
    torch.testing.assert_close(evaluate(from_module(module, (2,)), x), module(x))


def test_a_grafted_activation_of_one_s_own_is_refused():
    class Halved(GraftedReLU):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z) / 2

    with pytest.raises(UnsupportedError, match=r"submodule '0' \(Halved\) is a GraftedReLU of its own kind"):
        symbolic_trace(nn.Sequential(Halved(torch.tensor([True, False]))))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_the_hook_of_weight_normalisation_is_fine():
    module = nn.Sequential(nn.utils.weight_norm(nn.Linear(2, 2)), nn.ReLU()).eval()
    module[0].weight_g.data *= -3
    x = torch.rand(4, 2)
    torch.testing.assert_close(evaluate(from_module(module, (2,)), x), module(x))
