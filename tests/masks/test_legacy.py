from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from abcrown_graft.errors import DataError, FileFormatError, MaskError, ModelError
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.legacy import (
    convert_grafted_state,
    is_grafted_state,
    legacy_mask,
    legacy_scores,
    load_tensor_list,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MODEL = ModelIdentity("a", "b", {"1": (2, 2), "3": (3,)})
LISTED = [torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([0.0, 0.0, 1.0])]


@pytest.fixture
def stored(tmp_path):
    def store(content) -> Path:
        torch.save(content, tmp_path / "old.pt")
        return tmp_path / "old.pt"

    return store


class TestMasksAndScores:
    def test_a_list_of_tensors_becomes_a_mask_in_forward_order(self, stored):
        mask = legacy_mask(stored(LISTED), MODEL)
        assert mask.count_per_site() == {"1": 3, "3": 1}
        assert mask.model == MODEL
        assert mask.provenance == {"imported_from": "old.pt"}

    def test_scores_are_named_by_the_model_or_numbered(self, stored):
        path = stored(LISTED)
        assert list(legacy_scores(path, MODEL).values) == ["1", "3"]
        unnamed = legacy_scores(path, kind="instability")
        assert (unnamed.kind, list(unnamed.values), unnamed.model) == ("instability", ["0", "1"], None)

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            (LISTED[:1], "holds 1 tensors, the model has 2 activations"),
            (LISTED[::-1], r"made for another model \(sites of another shape: '1' \(3,\) instead of \(2, 2\)"),
            ([LISTED[0], LISTED[1] * 0.5], "site '3': a mask holds only 0 and 1 .*, found 0.5"),
        ],
    )
    def test_the_mask_of_another_model_is_refused(self, stored, tensors, message):
        with pytest.raises(MaskError, match=rf"old\.pt: {message}"):
            legacy_mask(stored(tensors), MODEL)

    def test_scores_of_another_model_and_nan_are_refused(self, stored):
        with pytest.raises(MaskError, match="holds 1 tensors"):
            legacy_scores(stored(LISTED[:1]), MODEL)
        with pytest.raises(DataError, match="hold nan"):
            legacy_scores(stored([torch.tensor([float("nan")])]))

    @pytest.mark.parametrize("content", [{"state_dict": {}}, LISTED[0], [1.0, 2.0], "text"])
    def test_anything_but_a_bare_list_of_tensors_is_refused(self, stored, content):
        with pytest.raises(FileFormatError, match=r"old\.pt: holds a .*, expected a bare list of tensors"):
            load_tensor_list(stored(content))

    @pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK"])
    def test_a_damaged_file_is_one_line(self, stored, damage):
        path = stored(LISTED)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(FileFormatError, match=r"old\.pt: not a readable torch file") as caught:
            load_tensor_list(path)
        assert "\n" not in str(caught.value)

    def test_a_missing_file_and_a_pickled_object_are_refused(self, stored, tmp_path):
        with pytest.raises(FileFormatError, match="no such file"):
            load_tensor_list(tmp_path / "nothing.pt")
        with pytest.raises(FileFormatError, match="not a readable torch file"):
            load_tensor_list(stored([torch.nn.Linear(1, 1)]))

    def test_the_released_cnnb_mask(self):
        path = SHARED / "grafting" / "cnnb_released_mask_50.pt"
        if not path.is_file():
            pytest.skip("the published mask is not at ../shared")
        cnnb = ModelIdentity("a", "b", {"2": (32, 16, 16), "4": (128, 8, 8), "7": (250,)})
        assert list(legacy_mask(path, cnnb).count_per_site().values()) == [4860, 3361, 96]


def graft_entries(number: int, shape: tuple[int, ...], value: float = 1.0) -> dict[str, torch.Tensor]:
    parts = {"mask": 1.0, "slope": 0.4, "bias": value}
    return {f"linear_masked_relu{number}.{part}": torch.full(shape, fill) for part, fill in parts.items()}


NETWORK = {
    "0.weight": torch.zeros(4, 3),
    "0.bias": torch.zeros(4),
    "2.weight": torch.zeros(4, 4),
    "2.bias": torch.zeros(4),
}


def filled(names, network=NETWORK) -> dict[str, torch.Tensor]:
    shapes = [tensor.shape for tensor in network.values()]
    return {name: torch.full(shape, i + 1.0) for i, (name, shape) in enumerate(zip(names, shapes, strict=True))}


class TestCheckpoints:
    def test_sequential_indices_name_the_layers_and_the_sites(self):
        state = filled(["layer0.weight", "layer0.bias", "layer2.weight", "layer2.bias"])
        state |= graft_entries(3, (2,), 3.0) | graft_entries(1, (4,), 1.0)
        converted = convert_grafted_state(state, ["1", "3"], NETWORK)
        assert list(converted)[:4] == list(NETWORK)
        assert [float(converted[name].flatten()[0]) for name in NETWORK] == [1, 2, 3, 4]
        assert converted["1.mask"].dtype == torch.bool
        assert converted["1.slope"].tolist() == pytest.approx([0.4] * 4)
        assert (converted["1.intercept"].tolist(), converted["3.intercept"].tolist()) == ([1.0] * 4, [3.0] * 2)
        assert len(converted) == 4 + 2 * 3

    def test_numbered_sites_follow_the_forward_order_and_names_that_exist_stay(self):
        network = {"layer1.0.conv1.weight": torch.zeros(4, 3), "layer1.weight": torch.zeros(2, 2)}
        state = filled(network, network)
        for number in range(1, 11):  # ten comes after two, not before
            state |= graft_entries(number, (1,), float(number))
        sites = [f"block{i}.relu" for i in range(10)]
        converted = convert_grafted_state(state, sites, network)
        assert list(converted)[:2] == list(network)
        assert [float(converted[f"{site}.intercept"]) for site in sites] == list(range(1, 11))

    def test_numbers_that_only_partly_look_like_site_names_are_an_order(self):
        state = filled(NETWORK) | graft_entries(1, (1,), 1.0) | graft_entries(2, (1,), 2.0)
        converted = convert_grafted_state(state, ["1", "3"], NETWORK)
        assert [float(converted[f"{site}.intercept"]) for site in ("1", "3")] == [1.0, 2.0]

    def test_parameters_of_other_names_are_matched_by_forward_order(self):
        state = filled(["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]) | graft_entries(1, (4,))
        converted = convert_grafted_state(state, ["1"], NETWORK)
        assert [float(converted[name].flatten()[0]) for name in NETWORK] == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("fc2.bias"), "3 parameters are unknown to the network .* lacks 4"),
            (lambda s: s.update({"fc1.weight": torch.zeros(5, 3)}), r"'fc1.weight' \(5, 3\) does not fit .*'0.weight'"),
            (lambda s: s.update({"fc3.bias": torch.zeros(2)}), "5 parameters are unknown to the network"),
            (lambda s: s.pop("linear_masked_relu1.slope"), "'linear_masked_relu1.slope' is missing"),
            (lambda s: s.update(graft_entries(2, (4,))), "2 grafted activations, the network has 1"),
        ],
    )
    def test_a_checkpoint_of_another_architecture_is_refused(self, change, message):
        state = filled(["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]) | graft_entries(1, (4,))
        change(state)
        with pytest.raises(ModelError, match=f"^checkpoint: .*{message}"):
            convert_grafted_state(state, ["1"], NETWORK)

    def test_weights_and_biases_are_not_confused(self):
        network = {"0.weight": torch.zeros(3), "0.bias": torch.zeros(3)}
        with pytest.raises(ModelError, match=r"'bn\.bias' .* does not fit .*'0\.weight'"):
            state = {"bn.bias": torch.zeros(3), "bn.weight": torch.zeros(3)}
            convert_grafted_state(state, [], network)

    def test_a_fractional_mask_is_refused(self):
        state = filled(NETWORK) | graft_entries(1, (4,)) | {"linear_masked_relu1.mask": torch.full((4,), 0.5)}
        with pytest.raises(MaskError, match=r"linear_masked_relu1\.mask: a mask holds only 0 and 1"):
            convert_grafted_state(state, ["1"], NETWORK)

    def test_grafted_checkpoints_are_recognised(self):
        assert is_grafted_state(graft_entries(1, (1,)))
        assert not is_grafted_state(NETWORK)

    def test_the_published_wide_adversarial_cnn_a(self):
        folder = SHARED / "models"
        if not (folder / "cifar_wide_adv.npz").is_file():
            pytest.skip("the published checkpoints are not at ../shared")
        wide, cnn_a = (
            {name: torch.from_numpy(array) for name, array in np.load(folder / f"{file}.npz").items()}
            for file in ("cifar_wide_adv", "cifar_cnn_a_adv")
        )
        converted = convert_grafted_state(wide, ["1", "3", "6"], cnn_a)
        old = {"0": "conv1", "2": "conv2", "5": "linear1", "7": "linear2"}
        for name in cnn_a:
            layer, kind = name.split(".")
            assert torch.equal(converted[name], wide[f"{old[layer]}.{kind}"])
        masks = [converted[f"{site}.mask"] for site in ("1", "3", "6")]
        assert [tuple(mask.shape) for mask in masks] == [(16, 16, 16), (32, 8, 8), (100,)]
        assert not any(bool(mask.any()) for mask in masks)
