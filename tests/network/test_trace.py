"""From modules to graphs: what is supported is exact, what is not is named."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from abcrown_graft.errors import MaskError, ModelError, UnsupportedError
from abcrown_graft.models.build import build_model
from abcrown_graft.network import operators as op
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.trace import as_executed, from_module
from abcrown_graft.nn.activation import GraftedReLU

pytestmark = pytest.mark.usefixtures("one_thread")

METHOD_TABLE = {
    "cnn_b": [8192, 8192, 250],
    "convbig_mnist": [25088, 6272, 12544, 3136, 512, 512],
    "convbig_cifar": [32768, 8192, 16384, 4096, 512, 512],
    "convbig_svhn": [32768, 8192, 16384, 4096, 512, 512],
    "convhuge": [65536, 65536, 32768, 32768, 32768, 512],
    "resnet_4b": [4096] + 4 * [2048] + 4 * [512] + [100],
    "cnn_a": [4096, 2048, 100],
    "mnist_fc_8x200": 7 * [200],
}
"""ReLU neurons per layer in the published tables."""


class Calls(nn.Module):
    """A module with some layers of which `function(self, x)` is the forward pass."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.conv = nn.Conv2d(1, 1, 1)
        self.act = nn.ReLU()
        self.register_buffer("constant", torch.arange(4.0))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


@pytest.mark.parametrize("name", METHOD_TABLE)
def test_neurons_per_site_are_the_published_ones(name: str):
    module, shape = build_model(name)
    sites = from_module(module, shape).sites
    assert [torch.Size(s).numel() for s in sites.values()] == METHOD_TABLE[name]


def test_convhuge_has_the_published_number_of_folded_parameters():
    module, shape = build_model("convhuge")
    network = from_module(module, shape)
    constants = [t for node in network.nodes for t in vars(node.operator).values() if isinstance(t, Tensor)]
    assert sum(t.numel() for t in constants) == 17_190_602
    assert not any(isinstance(node.operator, op.Scale) for node in network.nodes)


SUPPORTED = {
    "operators with constants": lambda m, x: (2 * x + m.constant) / 4 - 1,
    "reversed operands": lambda m, x: 1 - (m.constant + (m.constant * x)),
    "constant minus tensor": lambda m, x: m.constant - m.fc(x),
    "tensor method": lambda m, x: m.fc(x).add(m.constant).mul(2).sub(1).div(3),
    "addition of one tensor to itself": lambda m, x: x + x,
    "sum of two layers": lambda m, x: torch.add(m.fc(x), functional.leaky_relu(x, 0.2)),
    "concatenation": lambda m, x: torch.cat([m.fc(x), x, functional.leaky_relu(x)], dim=-1),
    "shape arithmetic": lambda m, x: x.view(x.size(0), 2, 2).reshape(x.shape[0], -1).contiguous(),
    "flatten": lambda m, x: torch.flatten(x.view(-1, 1, 2, 2), 1).flatten(1),
    "padding": lambda m, x: functional.pad(x.view(-1, 1, 2, 2), (1, 0, 0, 1)).flatten(1),
    "pooling": lambda m, x: functional.avg_pool2d(x.view(-1, 1, 2, 2), 2, 1, padding=1).flatten(1),
    "default pooling": lambda m, x: functional.avg_pool2d(x.view(-1, 1, 2, 2), kernel_size=2).flatten(1),
    "relu by keyword": lambda m, x: functional.relu(input=m.fc(x)),
    "methods and functions": lambda m, x: torch.relu(m.fc(x)).relu() - 1,
    "in place with no later reader": lambda m, x: functional.relu(m.fc(x), inplace=True).relu_(),
    "dropout in evaluation": lambda m, x: functional.dropout(m.fc(x), 0.5, training=m.training),
    "constant from the module": lambda m, x: x + m.fc.weight.sum() * torch.ones(4),
    "a dead branch": lambda m, x: (m.act(m.fc(x)), x * 3)[1],
}


@pytest.mark.parametrize("name", SUPPORTED)
def test_supported_calls_have_the_modules_value(name: str):
    torch.manual_seed(0)
    module = Calls(SUPPORTED[name])
    network = from_module(module, (4,))
    x = torch.randn(5, 4)
    torch.testing.assert_close(evaluate(network, x), module.eval()(x))
    assert network.output.shape == tuple(module(x).shape[1:])


REFUSED = {
    "exp": (lambda m, x: torch.exp(x), "exp"),
    "method": (lambda m, x: x.sigmoid(), "sigmoid"),
    "square": (lambda m, x: x * x, "product of two tensors"),
    "difference": (lambda m, x: x - m.fc(x), "difference of two tensors"),
    "ratio": (lambda m, x: 1 / x, "division by a tensor"),
    "power": (lambda m, x: x**2, "pow"),
    "matmul": (lambda m, x: x @ m.fc.weight, "matmul"),
    "slice": (lambda m, x: x[:, :2], "getitem"),
    "reduction": (lambda m, x: x - x.mean(1, keepdim=True), "mean"),
    "scaled addition": (lambda m, x: torch.add(x, m.constant, alpha=2), "add.*keyword"),
    "scaled subtraction": (lambda m, x: torch.sub(x, m.constant, alpha=2), "sub.*keyword"),
    "rounded division": (lambda m, x: torch.div(x, 2, rounding_mode="floor"), "div.*keyword"),
    "operand by keyword": (lambda m, x: torch.mul(x, other=2), "mul.*keyword"),
    "batch-mixing view": (lambda m, x: m.fc(x).view(-1, 8), "does not keep the batch axis"),
    "whole flatten": (lambda m, x: x.flatten(), "does not keep the batch axis"),
    "concatenation of images": (lambda m, x: torch.cat([x, x]), "along the batch"),
    "concatenation with a constant": (
        lambda m, x: torch.cat([x, m.constant.expand(2, 4)], 1),
        "concatenation with a constant",
    ),
    "constant per image": (lambda m, x: x + m.constant.expand(2, 4), "constant operand with a batch axis"),
    "broadcast": (lambda m, x: x.view(-1, 4, 1) + m.constant, "broadcasts its input"),
    "reflection": (lambda m, x: functional.pad(x.view(-1, 1, 2, 2), (1, 1, 1, 1), "reflect"), "padding other"),
    "padding with ones": (lambda m, x: functional.pad(x, (1, 1), value=1.0), "padding other"),
    "dropout always": (lambda m, x: functional.dropout(x, 0.5), "dropout.*self.training"),
    "steep leaky relu": (lambda m, x: functional.leaky_relu(x, 1.5), "negative_slope 1.5"),
    "ceil pooling": (lambda m, x: functional.avg_pool2d(x.view(-1, 1, 2, 2), 2, ceil_mode=True), "only kernel_size"),
    "two outputs": (lambda m, x: (x, x), "must return one tensor"),
    "constant output": (lambda m, x: m.constant, "must return one tensor"),
    # what is not a tensor must not pass for a constant
    "parts": (lambda m, x: m.fc(x) + torch.cat([x.chunk(2, 1)[1]] * 2, 1), "chunk"),
    "maximum and index": (lambda m, x: x + torch.max(x, 1, True)[0], "max"),
    "control flow": (lambda m, x: x if x.sum() > 0 else -x, "cannot be traced"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_calls_are_refused_by_name(name: str):
    function, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=f"(?s){message}") as caught:
        from_module(Calls(function), (4,))
    assert "\n" not in str(caught.value)


REFUSED_MODULES = {
    "Sigmoid": (nn.Sigmoid(), "Sigmoid \\(module '0'\\) is not supported"),
    "MaxPool2d": (nn.MaxPool2d(2), "MaxPool2d"),
    "reflect": (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "'reflect'"),
    "same": (nn.Conv2d(1, 1, 3, padding="same"), "'same'"),
    "batch statistics": (nn.BatchNorm2d(1, track_running_stats=False), "without running statistics"),
    "steep leaky relu": (nn.LeakyReLU(2.0), "negative_slope 2"),
    "ceil pooling": (nn.AvgPool2d(2, ceil_mode=True), "ceil_mode"),
    "pooling without padding zeros": (nn.AvgPool2d(2, padding=1, count_include_pad=False), "count_include_pad"),
    "own divisor": (nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
    "linear on images": (nn.Linear(4, 3), "Linear on a tensor of shape \\(1, 4, 3\\); flatten it first"),
}


@pytest.mark.parametrize("name", REFUSED_MODULES)
def test_other_modules_are_refused_by_name(name: str):
    layer, message = REFUSED_MODULES[name]
    with pytest.raises(UnsupportedError, match=message):
        from_module(nn.Sequential(layer), (1, 4, 4))


SHARED: list[float] = [0.0]
TURNS = itertools.cycle([1.0, 2.0])


def changes_a_shared_list(m: nn.Module, x: Tensor) -> Tensor:
    SHARED[0] += 1
    return m.fc(x) + SHARED[0]


ONE_IMAGE_ONLY = {
    "times the size": (lambda m, x: m.fc(x) * x.shape[0], "mul .call 'mul'. computes with the size of the batch"),
    "plus the size": (lambda m, x: m.fc(x) + x.size(0), "add .call 'add'. computes with the size of the batch"),
    "over the size": (lambda m, x: x / x.size()[0], "truediv .call 'truediv'. computes with the size"),
    "hidden in a constant": (
        lambda m, x: x + 1e-3 * x.shape[0] * m.constant,
        "mul .call 'mul'., read by 'add', computes with the size",
    ),
    "by keyword": (lambda m, x: x + x.size(dim=0), "add.*computes with the size"),
    "counted from the end": (lambda m, x: x + x.size(-2), "add.*computes with the size"),
    "indexed from the end": (lambda m, x: x + x.shape[-2], "add.*computes with the size"),
    "in a slice": (lambda m, x: x + x.shape[:1][0], "add.*computes with the size"),
    "in a reversed slice": (lambda m, x: x + x.shape[::-1][0], "computes with the size"),
    "numbers in all": (lambda m, x: x * (x.numel() // 4), "computes with the size"),
    "half of them": (lambda m, x: x + x.shape[0] // 2, "floordiv .call 'floordiv'., read by 'add', computes"),
    "as a tensor": (lambda m, x: x + torch.ones(4) * x.shape[0], "computes with the size"),
    "rows of a constant": (lambda m, x: x + m.fc.weight[: x.shape[0]].sum(0), "getitem.*computes with the size"),
    "a comparison": (lambda m, x: x * (x.shape[0] == 1), "eq .call 'eq'., read by 'mul', computes"),
    "a minimum": (lambda m, x: x * torch.full((4,), 1.0) ** x.shape[0], "computes with the size"),
    "behind in a shape": (lambda m, x: x.view(-1, x.size(0) * 2), "mul.*read by 'view', computes with the size"),
    "computed in front": (lambda m, x: x.view(x.size(0) // 1, -1), "floordiv.*read by 'view', computes"),
    "in the middle": (lambda m, x: x.view(-1, x.size(0), 4).sum(1), "view .call 'view'. computes with the size"),
    "sizes of padding": (lambda m, x: functional.pad(x, (0, x.size(0))), "pad.*computes with the size"),
    "data type": (lambda m, x: x * (x.dtype == torch.float64), "eq.*dtype or device"),
    "data type of a weight": (lambda m, x: x * (m.fc.weight.dtype == torch.float64), "eq.*dtype or device"),
    "device": (lambda m, x: x * (x.device.type == "cpu"), "dtype or device"),
    "mean of the images": (lambda m, x: x - x.mean(0), "mean"),
    "first image": (lambda m, x: x + x[:1], "getitem"),
    "other images": (lambda m, x: x + x.flip(0), "flip"),
    "next image": (lambda m, x: torch.roll(x, 1, 0), "roll"),
    "sorted images": (lambda m, x: x.sort(0).values, "sort"),
    "control flow": (lambda m, x: x if x.shape[0] > 2 else x + 1, "cannot be traced"),
    "two images": (lambda m, x: x.view(2, -1), "does not keep the batch axis"),
    "noise like a weight": (lambda m, x: x + torch.rand_like(m.fc.bias), "rand_like .call 'rand_like'.: .* draws"),
    "noise by a distribution": (
        lambda m, x: m.fc(x) + torch.normal(m.fc.bias, 1.0),
        "normal .call 'normal'.: .* draws",
    ),
    "dropped weight": (lambda m, x: m.fc(x) + functional.dropout(m.fc.bias), "dropout .call 'dropout'.: .*draws"),
    "unwritten memory": (lambda m, x: x + torch.empty_like(m.fc.bias), "empty_like .call 'empty_like'.: .*in memory"),
    "changed weight": (lambda m, x: m.fc(x) + m.fc.bias.data.add_(1), "add_.* changes the model's 'fc.bias'"),
    "changed list": (changes_a_shared_list, "'fc'.* has another value the second time|'add'.*the second time"),
    "taking turns": (lambda m, x: x * next(TURNS), "the scale of 'mul' .Scale. has another value the second time"),
}
"""Modules whose output for an image depends on the other images, on chance, or on earlier calls."""


@pytest.mark.parametrize("name", ONE_IMAGE_ONLY)
def test_an_output_depends_on_one_image_and_the_weights_only(name: str):
    function, message = ONE_IMAGE_ONLY[name]
    with pytest.raises(UnsupportedError, match=message) as caught:
        from_module(Calls(function), (4,))
    assert "\n" not in str(caught.value)


SIZES_IN_FRONT = {
    "size": lambda m, x: x.view(x.size(0), 2, 2).reshape(x.size(0), -1),
    "shape": lambda m, x: torch.reshape(x.view(x.shape[0], 2, 2), (x.shape[0], 4)),
    "negative index": lambda m, x: x.view(x.shape[-2], x.shape[-1]),
    "other sizes": lambda m, x: x.view(-1, x.size(1) // 2, 2).flatten(1) * x.size(1) + x.shape[-1],
    "whole shape": lambda m, x: m.fc(x).view(x.shape),
    "part of a shape": lambda m, x: x.view(x.shape[:1] + (2, 2)).flatten(1),  # noqa: RUF005
    "shape of a weight": lambda m, x: x * m.fc.weight.shape[0] + m.constant.shape[0],
    "number of axes": lambda m, x: x * x.dim() + x.ndim,
    "constant of a kind": lambda m, x: x + torch.ones(4, dtype=x.dtype, device=x.device),
    "size that is not used": lambda m, x: (x.shape[0] * 2, m.fc(x))[1],
    "keywords": lambda m, x: torch.reshape(x, shape=(x.size(dim=0), -1)),
}


@pytest.mark.parametrize("name", SIZES_IN_FRONT)
def test_the_size_of_the_batch_may_stand_in_front_of_a_shape(name: str):
    module = Calls(SIZES_IN_FRONT[name])
    network = from_module(module, (4,))
    for batch in (1, 5):
        x = torch.randn(batch, 4)
        torch.testing.assert_close(evaluate(network, x), module.eval()(x))


class Stubborn(nn.Dropout):
    """A dropout that evaluation mode does not switch off."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(True)


class Plain(nn.Sequential):
    """A network whose dropout stays on, for uncertainty estimates."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self[1].training = True
        return self


@pytest.mark.parametrize("module", [nn.Sequential(nn.Linear(4, 4), Stubborn()), Plain(nn.Linear(4, 4), nn.Dropout())])
def test_a_module_that_stays_in_training_mode_is_refused(module: nn.Module):
    with pytest.raises(UnsupportedError, match=r"submodule '1' \(.*in training mode in spite of eval"):
        from_module(module, (4,))


def test_images_that_pass_for_channels_are_refused():
    """A convolution takes two images without a channel axis for one image of two channels."""
    with pytest.raises((ModelError, UnsupportedError), match="does not accept|does not keep"):
        from_module(nn.Sequential(nn.Conv2d(2, 2, 1)), (3, 3))


def test_a_graph_for_training_is_read_once_and_watched():
    with pytest.raises(UnsupportedError, match="draws random numbers"):
        from_module(Calls(ONE_IMAGE_ONLY["noise like a weight"][0]), (4,), attached=True)


def test_the_steps_of_a_module_are_the_same_function_unfolded():
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).double()
    module[1].running_mean.normal_(3)
    module[1].running_var.uniform_(0.5, 2)
    x = torch.randn(4, 2, 4, 4).double()
    stepwise = as_executed(module, (2, 4, 4))
    assert [type(n.operator).__name__ for n in stepwise.nodes][:5] == ["Input", "Conv2d", "Scale", "Scale", "ReLU"]
    centred = stepwise.nodes[2].operator
    assert torch.equal(centred.shift.flatten(), -module[1].running_mean)
    torch.testing.assert_close(evaluate(stepwise, x), evaluate(from_module(module, (2, 4, 4)), x))


def test_tracing_leaves_nothing_in_the_module():
    module = Calls(lambda m, x: m.fc(x) + torch.ones(4))
    before = set(vars(module))
    from_module(module, (4,))
    assert set(vars(module)) == before


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: (lambda z: functional.relu(z, inplace=True) + z)(m.fc(x)),
        lambda m, x: (lambda z: z.view(-1, 2, 2).relu_().flatten(1) + z)(m.fc(x)),
        lambda m, x: (lambda z: (z.relu_(), z)[1])(m.fc(x)),
    ],
    ids=["same tensor", "view", "output"],
)
def test_reading_what_was_changed_in_place_is_refused(function: Callable[[nn.Module, Tensor], Tensor]):
    with pytest.raises(UnsupportedError, match="changed it in place; use inplace=False"):
        from_module(Calls(function), (4,))


def test_an_input_shape_that_does_not_fit_is_told():
    with pytest.raises(ModelError, match=r"does not accept inputs of shape \(5,\)"):
        from_module(nn.Linear(4, 2), (5,))


def test_a_second_input_is_told_and_a_default_is_a_constant():
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    class Scaled(nn.Module):
        def forward(self, x: Tensor, factor: float = 3.0) -> Tensor:
            return factor * x

    with pytest.raises(ModelError, match="does not accept"):
        from_module(Two(), (2,))
    assert evaluate(from_module(Scaled(), (2,)), torch.ones(1, 2)).tolist() == [[3, 3]]


def test_the_module_keeps_its_modes_and_weights():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout())
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    from_module(module, (3,))
    assert [m.training for m in module.modules()] == [True, True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_the_modes_come_back_after_an_error():
    module = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid())
    with pytest.raises(UnsupportedError):
        from_module(module, (3,))
    assert module.training and module[1].training


def test_constants_carry_no_gradient_and_follow_the_modules_precision():
    network = from_module(nn.Sequential(nn.Linear(3, 3, bias=False), nn.BatchNorm1d(3)).double(), (3,))
    constants = [t for node in network.nodes for t in vars(node.operator).values() if isinstance(t, Tensor)]
    assert constants and not any(t.requires_grad for t in constants)
    assert {t.dtype for t in constants} == {torch.float64}


def test_operations_the_output_does_not_need_are_left_out():
    network = from_module(Calls(SUPPORTED["a dead branch"]), (4,))
    assert [type(node.operator) for node in network.nodes] == [op.Input, op.Scale]
    assert not network.sites


def test_a_scaled_layer_is_the_output_even_if_dead_code_follows_the_layer():
    module = Calls(lambda m, x: (lambda z: (2 * z, m.act(x))[0])(m.fc(x)))
    x = torch.randn(3, 4)
    torch.testing.assert_close(evaluate(from_module(module, (4,)), x), module(x))


def test_a_mask_of_another_shape_is_a_mask_error():
    model = nn.Sequential(nn.Linear(4, 4), GraftedReLU(torch.ones(1, dtype=torch.bool)))
    with pytest.raises(MaskError, match=r"mask of shape \(1,\) on neurons of shape \(4,\)"):
        from_module(model, (4,))


def test_a_submodule_named_like_a_tensor_query_is_translated():
    model = nn.Sequential()
    model.add_module("size", nn.Linear(2, 3))
    model.add_module("shape", nn.ReLU())
    assert dict(from_module(model, (2,)).sites) == {"shape": (3,)}
