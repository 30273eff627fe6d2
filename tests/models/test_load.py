from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from abcrown_graft.errors import ConfigError, FileFormatError, MaskError, ModelError, UnsupportedError
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.models.build import build_model
from abcrown_graft.models.checkpoint import save_checkpoint
from abcrown_graft.models.load import (
    LoadedModel,
    ModelSource,
    check_images,
    identify,
    load_model,
    load_weights,
    prepare,
    read_mask,
)
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.trace import from_module
from abcrown_graft.nn.surgery import graft, grafted_modules

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NAME = "digits_cnn"
SHAPE = (1, 8, 8)


@pytest.fixture
def core() -> nn.Module:
    torch.manual_seed(0)
    return build_model(NAME)[0].eval().requires_grad_(False)


def images(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.rand(5, *shape, generator=torch.Generator().manual_seed(1))


def masks_of(model: nn.Module, shape: tuple[int, ...] = SHAPE, seed: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sites = from_module(model, shape).sites
    return {site: torch.rand(size, generator=generator) < 0.5 for site, size in sites.items()}


def same_function(found: LoadedModel, core: nn.Module) -> None:
    """The three forms of `found` are the function of `core`."""
    x = images(found.input_shape)
    with torch.no_grad():
        expected = core(x)
        torch.testing.assert_close(found.core(x), expected)
        torch.testing.assert_close(found.module(x), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(evaluate(found.network, x), expected, atol=1e-5, rtol=1e-5)


@pytest.fixture
def grafted(core) -> nn.Module:
    """A grafted copy with slopes and intercepts that were learned."""
    made = graft(core, masks_of(core))
    for module in grafted_modules(made).values():
        module.slope.data.normal_()
        module.intercept.data.normal_()
    return made.eval().requires_grad_(False)


@pytest.fixture
def plain_file(core, tmp_path) -> Path:
    save_checkpoint(tmp_path / "plain.safetensors", core, {})
    return tmp_path / "plain.safetensors"


@pytest.fixture
def grafted_file(grafted, tmp_path) -> Path:
    save_checkpoint(tmp_path / "grafted.safetensors", grafted, {})
    return tmp_path / "grafted.safetensors"


class TestCheckpoints:
    @pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".pth", ".model", ".ckpt"])
    def test_every_format_holds_a_plain_network(self, core, tmp_path, suffix):
        path, state = tmp_path / f"net{suffix}", core.state_dict()
        if suffix == ".safetensors":
            save_checkpoint(path, core, {})
        elif suffix == ".npz":
            np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
        else:
            torch.save({"state_dict": state}, path)
        found = load_model(ModelSource(NAME, path))
        same_function(found, core)
        assert found.input_shape == SHAPE
        assert set(found.grafted.values()) == {0}
        assert not found.module.training

    @pytest.mark.parametrize("key", ["path", "checkpoint"])
    @pytest.mark.parametrize("prefix", ["", "module."])
    def test_a_grafted_network_comes_back_as_it_was(self, grafted, tmp_path, key, prefix):
        torch.save({prefix + name: tensor for name, tensor in grafted.state_dict().items()}, tmp_path / "net.pt")
        found = load_model(ModelSource(NAME, **{key: tmp_path / "net.pt"}))
        same_function(found, grafted)
        assert found.grafted == {site: int(module.mask.sum()) for site, module in grafted_modules(grafted).items()}
        assert min(found.grafted.values()) > 0

    def test_also_from_the_file_that_this_package_writes(self, grafted, grafted_file):
        same_function(load_model(ModelSource(NAME, checkpoint=grafted_file)), grafted)

    def test_a_grafted_checkpoint_replaces_the_plain_one(self, grafted, grafted_file, tmp_path):
        same_function(load_model(ModelSource(NAME, tmp_path / "nowhere.pt", checkpoint=grafted_file)), grafted)

    def test_a_network_grafted_in_some_sites_only(self, core, tmp_path):
        site, mask = next(iter(masks_of(core).items()))
        partly = graft(core, {site: mask}).eval()
        save_checkpoint(tmp_path / "net.safetensors", partly, {})
        found = load_model(ModelSource(NAME, checkpoint=tmp_path / "net.safetensors"))
        same_function(found, partly)
        assert found.grafted == {name: int(mask.sum()) if name == site else 0 for name in found.network.sites}

    def test_a_plain_checkpoint_is_no_grafted_one(self, plain_file):
        with pytest.raises(ModelError, match=r"graft\.checkpoint: \S*plain\.safetensors: not a grafted checkpoint"):
            load_model(ModelSource(NAME, checkpoint=plain_file))

    def test_a_grafted_checkpoint_is_no_plain_one(self, grafted, grafted_file):
        told = r"^model\.path: \S*grafted\.safetensors: a grafted checkpoint; .* name it in graft\.checkpoint"
        with pytest.raises(ModelError, match=told):
            load_model(ModelSource(NAME, grafted_file, plain=True))
        same_function(load_model(ModelSource(NAME, grafted_file)), grafted)

    def test_without_a_checkpoint_the_weights_are_those_of_the_definition(self, tmp_path):
        (tmp_path / "own.py").write_text(
            "import torch\ndef net(bias=1.0):\n    net = torch.nn.Sequential(torch.nn.Linear(2, 2))\n"
            "    torch.nn.init.constant_(net[0].bias, bias)\n    return net\n"
        )
        source = ModelSource('Customized("own.py", "net", bias=3.0)', input_shape=(2,), folders=[tmp_path])
        assert load_model(source).core[0].bias.tolist() == [3.0, 3.0]

    @pytest.mark.parametrize(("key", "named"), [("path", r"model\.path"), ("checkpoint", r"graft\.checkpoint")])
    def test_a_missing_file_says_which_key_named_it_and_how_to_make_it(self, tmp_path, key, named):
        source = ModelSource(NAME, hint="make it with: abcrown-graft train", **{key: tmp_path / "no.pt"})
        with pytest.raises(ModelError, match=rf"^{named}: \S*no\.pt: no such file; make it with: abcrown-graft train$"):
            load_model(source)

    def test_files_of_the_package_are_found_from_any_directory(self, core, monkeypatch, tmp_path):
        from abcrown_graft.models import weights

        (tmp_path / "installed" / "model_defs" / "weights").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        relative = Path("model_defs/weights/x.safetensors")
        save_checkpoint(tmp_path / "installed" / relative, graft(core, masks_of(core)), {})
        mask = GraftMask(masks_of(core), identify(from_module(core, SHAPE)))
        mask.save(tmp_path / "installed" / "model_defs" / "weights" / "mask.safetensors")
        monkeypatch.setattr(weights, "package_folder", lambda: tmp_path / "installed")
        monkeypatch.chdir(tmp_path / "elsewhere")
        for source in (ModelSource(NAME, relative), ModelSource(NAME, checkpoint=relative)):
            found = load_model(replace(source, mask=Path("model_defs/weights/mask.safetensors")))
            assert sum(found.grafted.values()) == mask.count


class TestWrongWeights:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_weight_that_is_not_finite_is_named(self, core, tmp_path, value):
        name = list(core.state_dict())[2]
        core.state_dict()[name].flatten()[0] = value
        save_checkpoint(tmp_path / "net.safetensors", core, {})
        with pytest.raises(ModelError, match=rf"net\.safetensors: {name} has 1 NaN or infinite entries"):
            load_model(ModelSource(NAME, tmp_path / "net.safetensors"))

    @pytest.mark.parametrize("part", ["slope", "intercept"])
    def test_so_is_a_graft_that_is_not_finite(self, grafted, tmp_path, part):
        site, module = next(iter(grafted_modules(grafted).items()))
        getattr(module, part).data.flatten()[3] = float("nan")
        save_checkpoint(tmp_path / "net.safetensors", grafted, {})
        with pytest.raises(ModelError, match=rf"net\.safetensors: {site}\.{part} has 1 NaN"):
            load_model(ModelSource(NAME, checkpoint=tmp_path / "net.safetensors"))

    @pytest.mark.parametrize("grafting", [False, True])
    def test_and_one_of_a_model_without_a_file(self, core, grafting):
        made = graft(core, masks_of(core)) if grafting else core
        if grafting:
            site, module = next(iter(grafted_modules(made).items()))
            module.slope.data.fill_(float("nan"))
            message = rf"the model's slope at {site} has NaN"
        else:
            made[0].weight[0] = float("inf")
            message = r"the model's weight at \S*0 \(Conv2d\) has NaN or infinite entries"
        with pytest.raises(ModelError, match=message):
            prepare(made, SHAPE)

    def test_weights_of_another_shape_or_name_are_named(self, core, tmp_path):
        state = core.state_dict()
        first, *_, last = state
        torch.save({**state, first: state[first][1:]}, tmp_path / "net.pt")
        with pytest.raises(ModelError, match=rf"net\.pt: does not fit model\.name: of another shape: {first} \(15,"):
            load_model(ModelSource(NAME, tmp_path / "net.pt"))
        torch.save({name: tensor for name, tensor in state.items() if name != last}, tmp_path / "net.pt")
        with pytest.raises(ModelError, match=rf"net\.pt: does not fit model\.name: missing: {last}$"):
            load_model(ModelSource(NAME, tmp_path / "net.pt"))

    def test_a_mask_in_a_checkpoint_has_its_site_s_shape_and_values(self, grafted, tmp_path):
        state = grafted.state_dict()
        name = next(name for name in state if name.endswith(".mask"))
        site = name.removesuffix(".mask")
        torch.save({**state, name: state[name][1:]}, tmp_path / "net.pt")
        message = rf"net\.pt: the mask of site '{site}' is \(15, 8, 8\), the model's is \(16,"
        with pytest.raises(MaskError, match=message):
            load_model(ModelSource(NAME, tmp_path / "net.pt"))
        torch.save({**state, name: state[name] * 0.5}, tmp_path / "net.pt")
        with pytest.raises(MaskError, match=rf"net\.pt: {site}\.mask: a mask holds only 0 and 1"):
            load_model(ModelSource(NAME, tmp_path / "net.pt"))

    def test_a_damaged_file_is_told(self, plain_file):
        plain_file.write_bytes(plain_file.read_bytes()[:-10])
        with pytest.raises(FileFormatError, match=r"plain\.safetensors: not a complete safetensors file"):
            load_model(ModelSource(NAME, plain_file))


class TestInputShape:
    def test_it_may_be_repeated_but_not_changed(self, plain_file):
        assert load_model(ModelSource(NAME, plain_file, SHAPE)).input_shape == SHAPE
        message = r"model\.input_shape: \(1, 9, 9\) given, but digits_cnn takes \(1, 8, 8\)"
        with pytest.raises(ModelError, match=message):
            load_model(ModelSource(NAME, plain_file, (1, 9, 9)))

    def test_a_definition_that_does_not_say_needs_it(self, tmp_path):
        text = "from torch.nn import Linear, Sequential\ndef net():\n    return Sequential(Linear(3, 2))\n"
        (tmp_path / "own.py").write_text(text)
        source = ModelSource('Customized("own.py", "net")', folders=[tmp_path])
        with pytest.raises(ModelError, match=r"model\.input_shape: not set, and Customized.* does not say; set it"):
            load_model(source)
        assert load_model(replace(source, input_shape=(3,))).input_shape == (3,)
        with pytest.raises(ModelError, match=r"does not accept inputs of shape \(4,\)"):
            load_model(replace(source, input_shape=(4,)))


class TestMasks:
    @pytest.fixture
    def mask_file(self, core, tmp_path) -> Path:
        GraftMask(masks_of(core), identify(from_module(core, SHAPE))).save(tmp_path / "mask.safetensors")
        return tmp_path / "mask.safetensors"

    def test_a_mask_grafts_a_plain_network(self, core, plain_file, mask_file):
        found = load_model(ModelSource(NAME, plain_file, mask=mask_file, slope=0.3, intercept=-0.1))
        same_function(found, graft(core, masks_of(core), 0.3, -0.1))
        assert found.grafted == {site: int(mask.sum()) for site, mask in masks_of(core).items()}

    def test_a_published_mask_is_a_list_in_forward_order(self, core, plain_file, tmp_path):
        torch.save([mask.float() for mask in masks_of(core).values()], tmp_path / "mask.pt")
        found = load_model(ModelSource(NAME, plain_file, mask=tmp_path / "mask.pt"))
        same_function(found, graft(core, masks_of(core)))

    def test_the_mask_of_other_weights_fits(self, plain_file, mask_file, tmp_path):
        save_checkpoint(tmp_path / "other.safetensors", build_model(NAME)[0], {})
        found = load_model(ModelSource(NAME, tmp_path / "other.safetensors", mask=mask_file))
        assert sum(found.grafted.values()) > 0

    def test_the_mask_of_another_model_is_refused_with_the_difference(self, core, plain_file, tmp_path):
        path = tmp_path / "mask.safetensors"
        sites = from_module(core, SHAPE).sites
        identity = identify(from_module(core, SHAPE))
        last = list(sites)[-1]
        wider = {**sites, last: (51,)}
        ones = {site: torch.ones(shape, dtype=torch.bool) for site, shape in wider.items()}
        GraftMask(ones, replace(identity, sites=wider)).save(path)
        message = rf"mask\.safetensors: the mask is of another model \(sites of another shape: '{last}' \(51,\) instead"
        with pytest.raises(MaskError, match=message):
            load_model(ModelSource(NAME, plain_file, mask=path))
        GraftMask(masks_of(core), replace(identity, architecture="0" * 16)).save(path)
        with pytest.raises(MaskError, match=r"same sites, another structure \(architecture"):
            load_model(ModelSource(NAME, plain_file, mask=path))
        torch.save([torch.ones(8, 8, 8)], tmp_path / "mask.pt")
        with pytest.raises(MaskError, match=r"mask\.pt: holds 1 tensors, the model has 3 activations"):
            load_model(ModelSource(NAME, plain_file, mask=tmp_path / "mask.pt"))

    def test_a_checkpoint_s_own_mask_may_be_given_too(self, grafted, grafted_file, mask_file):
        same_function(load_model(ModelSource(NAME, checkpoint=grafted_file, mask=mask_file, slope=9.0)), grafted)

    def test_another_mask_than_the_checkpoint_s_is_refused(self, core, grafted_file, tmp_path):
        other = masks_of(core)
        last = list(other)[-1]
        other[last] = ~other[last]
        GraftMask(other, identify(from_module(core, SHAPE))).save(tmp_path / "other.safetensors")
        source = ModelSource(NAME, checkpoint=grafted_file, mask=tmp_path / "other.safetensors")
        message = rf"graft\.mask: \S*other\.safetensors: differs from the mask in the checkpoint at site '{last}'"
        with pytest.raises(MaskError, match=message):
            load_model(source)

    def test_also_where_the_checkpoint_leaves_a_site_ungrafted(self, core, mask_file, tmp_path):
        first, second, _ = masks_of(core)
        partly = graft(core, {first: masks_of(core)[first]})
        save_checkpoint(tmp_path / "net.safetensors", partly, {})
        source = ModelSource(NAME, checkpoint=tmp_path / "net.safetensors", mask=mask_file)
        with pytest.raises(MaskError, match=rf"differs from the mask in the checkpoint at site '{second}'"):
            load_model(source)

    def test_a_mask_file_that_is_missing_or_none_is_told(self, plain_file, tmp_path):
        for name in ("no.safetensors", "no.pt"):
            with pytest.raises(FileFormatError, match=r"no\.\w+: no such file"):
                load_model(ModelSource(NAME, plain_file, mask=tmp_path / name))
        with pytest.raises(FileFormatError, match=r"this is a 'checkpoint' file, expected 'mask'"):
            load_model(ModelSource(NAME, plain_file, mask=plain_file))


class TestNormalization:
    @pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.3, 0.5), ([0.1, 0.2, 0.3], [0.5, 0.25, 2.0])])
    def test_it_stands_in_front_of_the_module_and_of_the_network(self, mean, std):
        torch.manual_seed(0)
        core = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()
        found = prepare(core, (3, 4, 4), mean, std)
        x = images((3, 4, 4))
        means, stds = (torch.tensor(value).view(-1, 1, 1) for value in (mean, std))
        with torch.no_grad():
            expected = core((x - means) / stds)
            torch.testing.assert_close(found.module(x), expected)
            torch.testing.assert_close(evaluate(found.network, x), expected, atol=1e-5, rtol=1e-5)
        assert list(found.network.sites) == ["1"]

    def test_the_identity_depends_on_neither_normalisation_nor_grafting(self, core, plain_file, grafted_file):
        plain, normal, grafted = (
            load_model(source).identity
            for source in (
                ModelSource(NAME, plain_file),
                ModelSource(NAME, plain_file, mean=0.3, std=0.5),
                ModelSource(NAME, checkpoint=grafted_file, mean=0.3),
            )
        )
        assert plain == normal
        assert (grafted.architecture, grafted.sites) == (plain.architecture, plain.sites)
        assert list(grafted.sites) == list(plain.sites)
        assert grafted.weights != plain.weights

    def test_other_weights_are_another_model_of_the_same_architecture(self, core, plain_file):
        before = prepare(core, SHAPE).identity
        list(core.parameters())[-1][0] += 1e-6
        after = prepare(core, SHAPE).identity
        assert after.architecture == before.architecture and after.weights != before.weights
        assert load_model(ModelSource(NAME, plain_file)).identity == before

    @pytest.mark.parametrize("shape", [(3, 4, 4), (48,)])
    def test_as_many_means_as_channels(self, shape):
        core = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
        with pytest.raises(ConfigError, match=r"data\.mean: \[0\.1, 0\.2\] has 2 entries; give 1 or one per channel"):
            prepare(core, shape, [0.1, 0.2], 1.0)
        with pytest.raises(ConfigError, match=r"data\.std: 0\S* has an entry that is not positive"):
            prepare(core, shape, 0.5, 0.0)


class Shifted(nn.Module):
    """Two outputs that are nearly equal, of which `shift(x)` moves the first."""

    def __init__(self, shift) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 2)
        self.fc.weight.data.zero_()
        self.fc.bias.data = torch.tensor([-0.0015, 0.0])
        self.register_buffer("first", torch.tensor([1.0, 0.0]))
        self.shift = shift

    def forward(self, x):
        return torch.relu(self.fc(x) + 1) + self.shift(x) * self.first


class TestModulesThatAreNoNetworks:
    """The graph that is verified is the module, at every size of the batch and at every call."""

    @pytest.mark.parametrize(
        ("shift", "message"),
        [
            (lambda x: 1e-3 * x.shape[0], r"mul \(call 'mul'\), read by '\w+', computes with the size of the batch"),
            (lambda x: 4e-3 * (torch.rand(2) - 0.5), "rand draws random numbers"),
        ],
    )
    def test_a_difference_of_a_thousandth_is_no_rounding(self, shift, message):
        with pytest.raises(UnsupportedError, match=message):
            prepare(Shifted(shift), (1,))

    def test_also_of_a_user_s_file(self, tmp_path):
        text = "import torch\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x + {}\n"
        for name, added, message in (
            ("size.py", "x.shape[0]", "computes with the size of the batch"),
            ("chance.py", "1e-9 * torch.randn(3)", "randn draws random numbers"),
            ("clock.py", "__import__('time').time()", "time.time depends on the time"),
        ):
            (tmp_path / name).write_text(text.format(added))
            source = ModelSource(f'Customized("{name}", "Net")', input_shape=(3,), folders=[tmp_path])
            with pytest.raises(UnsupportedError, match=message):
                load_model(source)

    def test_and_before_it_is_grafted(self, tmp_path, core):
        """A grafted copy is a traced one, in which what was drawn is a constant."""
        lines = "import torch", "", "class Net(torch.nn.Sequential):", "    def forward(self, x):"
        (tmp_path / "net.py").write_text("\n".join((*lines, "        return super().forward(x) + torch.rand(2)", "")))
        text = "def net():\n    return Net(torch.nn.Linear(3, 2), torch.nn.ReLU())\n"
        (tmp_path / "net.py").write_text((tmp_path / "net.py").read_text() + text)
        source = ModelSource(
            'Customized("net.py", "net")', input_shape=(3,), folders=[tmp_path], mask=tmp_path / "m.pt"
        )
        torch.save([torch.tensor([True, False])], tmp_path / "m.pt")
        with pytest.raises(UnsupportedError, match="rand draws random numbers"):
            load_model(source)

    def test_a_constant_that_is_computed_in_another_precision_is_none(self):
        """The graph is made from a copy in float64; the network is the module in float32."""

        class Typed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc = nn.Linear(2, 2)
                self.register_buffer("shift", torch.zeros(2))

            def forward(self, x):
                return self.fc(x) + (0.01 if self.shift.dtype == torch.float32 else 0.0)

        with pytest.raises(ModelError, match="graph does not compute what the model does: on random images"):
            prepare(Typed(), (2,))

    def test_images_of_the_run_are_compared_too(self):
        found = prepare(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (1, 2, 2))
        points = torch.rand(20, 1, 2, 2)
        check_images(found, points)
        found.core[1].bias.data += 1e-5  # after it was traced
        with pytest.raises(ModelError, match="on images of the run their outputs differ by 1e-05"):
            check_images(found, points)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published files are not at ../shared")
class TestPublishedFiles:
    def test_a_grafted_checkpoint_whose_masks_are_empty(self):
        path = SHARED / "models" / "cifar_wide_adv.npz"
        mean, std = [0.49137, 0.48235, 0.44667], [0.24706, 0.24353, 0.26157]
        found = load_model(ModelSource("cnn_a", path, mean=mean, std=std))
        assert len(grafted_modules(found.core)) == 3
        assert set(found.grafted.values()) == {0}
        with np.load(path) as arrays:
            plain = build_model("cnn_a")[0]
            ordered = [torch.from_numpy(arrays[name]) for name in arrays.files if "linear_masked_relu" not in name]
        plain.load_state_dict(dict(zip(plain.state_dict(), ordered, strict=True)))
        x = images((3, 32, 32))
        with torch.no_grad():
            torch.testing.assert_close(found.core(x), plain(x))

    def test_the_released_mask_of_cnn_b(self, tmp_path):
        save_checkpoint(tmp_path / "net.safetensors", build_model("cnn_b")[0], {})
        mask = SHARED / "grafting" / "cnnb_released_mask_50.pt"
        found = load_model(ModelSource("cnn_b", tmp_path / "net.safetensors", mask=mask))
        assert list(found.grafted.values()) == [4860, 3361, 96]
        assert read_mask(mask, found.identity).count == 8317


def test_load_weights_grafts_a_copy_and_fills_a_plain_model(core, plain_file, grafted, grafted_file):
    torch.manual_seed(9)
    fresh = build_model(NAME)[0]
    assert not grafted_modules(load_weights(fresh, SHAPE, plain_file))
    loaded = load_weights(fresh, SHAPE, grafted_file).eval()
    assert not grafted_modules(fresh)
    with torch.no_grad():
        torch.testing.assert_close(fresh.eval()(images()), core(images()))
        torch.testing.assert_close(loaded(images()), grafted(images()))
