from __future__ import annotations

import pytest
import torch

from abcrown_graft import files
from abcrown_graft.errors import FileFormatError, MaskError
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.mask import GraftMask, as_boolean

MODEL = ModelIdentity("a" * 64, "b" * 64, {"z": (2, 2), "a": (4,)})
FIRST = torch.tensor([[True, False], [True, True]])
SECOND = torch.tensor([False, True, False, False])


def mask(first=FIRST, second=SECOND, model=MODEL) -> GraftMask:
    return GraftMask({"a": second, "z": first}, model, {"ratio": 0.5})


def test_counts():
    grafted = mask()
    assert (grafted.count, grafted.size) == (4, 8)
    assert grafted.count_per_site() == {"z": 3, "a": 1}


def test_the_sites_come_in_forward_order_before_and_after_storage(tmp_path):
    mask().save(tmp_path / "mask.safetensors")
    loaded = GraftMask.load(tmp_path / "mask.safetensors")
    assert list(mask().masks) == list(loaded.masks) == ["z", "a"]
    assert all(torch.equal(loaded.masks[name], mask().masks[name]) for name in MODEL.sites)
    assert loaded.model == MODEL
    assert loaded.provenance == {"ratio": 0.5}


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"z": FIRST}, "missing sites: 'a'"),
        ({"z": FIRST, "a": SECOND, "b": SECOND}, "extra sites: 'b'"),
        ({"z": FIRST, "a": SECOND[:3]}, r"'a' \(3,\) instead of \(4,\)"),
        ({"z": FIRST, "a": SECOND * 0.5}, "site 'a': the mask has dtype torch.float32, expected torch.bool"),
    ],
)
def test_the_constructor_refuses_what_does_not_fit_the_model(masks, message):
    with pytest.raises(MaskError, match=message):
        GraftMask(masks, MODEL)


@pytest.mark.parametrize("value", [0.5, 2.0, -1.0, float("nan"), float("inf")])
def test_only_zero_and_one_become_boolean(value):
    assert as_boolean(torch.tensor([0.0, 1.0]), "m").tolist() == [False, True]
    with pytest.raises(MaskError, match=f"m: a mask holds only 0 and 1 .*, found {value}"):
        as_boolean(torch.tensor([0.0, value]), "m")


def test_check_accepts_retrained_weights_but_tells():
    retrained = ModelIdentity(MODEL.architecture, "c" * 64, MODEL.sites)
    mask().check(retrained)
    assert mask().same_weights(MODEL)
    assert not mask().same_weights(retrained)


@pytest.mark.parametrize(
    ("model", "difference"),
    [
        (ModelIdentity("c" * 64, "b", MODEL.sites), "same sites, another structure"),
        (ModelIdentity("a" * 64, "b", {"z": (2, 2)}), "extra sites: 'a'"),
        (ModelIdentity("a" * 64, "b", {"z": (2, 2), "a": (5,)}), r"'a' \(4,\) instead of \(5,\)"),
    ],
)
def test_check_refuses_another_model_and_says_what_differs(model, difference):
    with pytest.raises(MaskError, match=rf"my\.mask: .*{difference}"):
        mask().check(model, "my.mask")


def stored(path, tensors, header):
    files.save_tensors(path, "mask", tensors, header)
    return path


@pytest.mark.parametrize(
    ("tensors", "header", "message"),
    [
        ({"z": FIRST * 2, "a": SECOND}, {"model": MODEL.to_header()}, "only 0 and 1"),
        ({"z": FIRST}, {"model": MODEL.to_header()}, "missing sites"),
        ({"z": FIRST, "a": SECOND}, {}, "model identity"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, tensors, header, message):
    path = stored(tmp_path / "mask.safetensors", tensors, header)
    with pytest.raises(FileFormatError, match=rf"mask\.safetensors: .*{message}"):
        GraftMask.load(path)


def test_a_truncated_file_and_one_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "mask.safetensors"
    mask().save(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FileFormatError, match="not a complete safetensors file"):
        GraftMask.load(path)
    files.save_tensors(path, "significance", {"z": FIRST}, {})
    with pytest.raises(FileFormatError, match="'significance' file, expected 'mask'"):
        GraftMask.load(path)
