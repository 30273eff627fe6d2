"""Reading, fitting, applying and writing trained weights, and every file that must be refused."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from abcrown_graft.errors import AbcrownGraftError, FileFormatError, ModelError
from abcrown_graft.files import save_tensors
from abcrown_graft.models.checkpoint import apply_state_dict, fit_keys, load_state_dict, save_checkpoint


def small(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


WRAPPINGS: dict[str, Callable[[dict], object]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "val_acc": 0.5},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "list of one": lambda state: [state],
    "list of one in state_dict": lambda state: {"state_dict": [state]},
    "state_dict in list of one": lambda state: [{"state_dict": state}],
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("suffix", (".pt", ".pth", ".model", ".ckpt"))
def test_torch_files_are_unwrapped(tmp_path: Path, wrapping: str, suffix: str):
    state = small().state_dict()
    torch.save(WRAPPINGS[wrapping](state), tmp_path / f"net{suffix}")
    read, header = load_state_dict(tmp_path / f"net{suffix}")
    assert equal(read, state) and header is None


def test_npz_files_are_read(tmp_path: Path):
    state = small().state_dict()
    np.savez(tmp_path / "net.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    read, header = load_state_dict(tmp_path / "net.npz")
    assert equal(read, state) and header is None


def test_a_saved_checkpoint_is_read_with_its_provenance(tmp_path: Path):
    model = small()
    save_checkpoint(tmp_path / "runs" / "net.safetensors", model, {"epochs": 3})
    read, header = load_state_dict(tmp_path / "runs" / "net.safetensors")
    assert equal(read, model.state_dict())
    assert (header["kind"], header["epochs"]) == ("checkpoint", 3)


def test_legacy_grafted_keys_are_left_alone(tmp_path: Path):
    state = {"layer0.weight": torch.ones(2), "linear_masked_relu1.mask": torch.ones(2)}
    torch.save({"state_dict": state}, tmp_path / "net.pt")
    assert equal(load_state_dict(tmp_path / "net.pt")[0], state)


def test_a_missing_file_is_named_with_its_key_and_how_to_make_it(tmp_path: Path):
    with pytest.raises(ModelError, match=r"^model\.path: .*net\.pt: no such file; give the path of a checkpoint"):
        load_state_dict(tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"^graft\.checkpoint: .*net\.pt: no such file; run `abcrown-graft tune`$"):
        load_state_dict(tmp_path / "net.pt", key="graft.checkpoint", hint="run `abcrown-graft tune`")


def test_an_unknown_suffix_is_answered_with_the_known_ones(tmp_path: Path):
    (tmp_path / "net.h5").touch()
    with pytest.raises(ModelError, match=r"unknown kind of checkpoint '\.h5'; known: \.safetensors, \.npz, \.pt"):
        load_state_dict(tmp_path / "net.h5")


@pytest.mark.parametrize("suffix", (".safetensors", ".npz", ".pt"))
@pytest.mark.parametrize("keep", (0.0, 0.5, 0.95))
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, keep: float):
    path, state = tmp_path / f"net{suffix}", small().state_dict()
    if suffix == ".safetensors":
        save_tensors(path, "checkpoint", state, {})
    elif suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    else:
        torch.save(state, path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(FileFormatError, match=rf"net\{suffix}: [^\n]*$"):
        load_state_dict(path)


@pytest.mark.parametrize("suffix", (".safetensors", ".npz", ".pt"))
def test_a_text_file_is_refused(tmp_path: Path, suffix: str):
    (tmp_path / f"net{suffix}").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match=rf"net\{suffix}: [^\n]*$"):
        load_state_dict(tmp_path / f"net{suffix}")


def of_torch(content: object, as_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=as_zip)
    return buffer.getvalue()


def in_itself() -> list:
    content: list = []
    content.append(content)
    return content


@pytest.mark.parametrize(
    "content",
    [b"\x80\x02uN.", of_torch(in_itself()), of_torch([small().state_dict()], as_zip=False)[:-2]],
    ids=["a pickle of nothing", "a list that holds itself", "a cut file of the old format"],
)
def test_a_damaged_pickle_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(AbcrownGraftError, match=r"net\.pt: [^\n]*$"):
        load_state_dict(tmp_path / "net.pt")


def of_numpy(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: tensor.numpy() for name, tensor in state.items()})
    return buffer.getvalue()


STATE = {"weight": torch.ones(3), "bias": torch.ones(1)}


@pytest.mark.parametrize(
    ("name", "whole"),
    [("net.pt", of_torch({"model": STATE})), ("old.pt", of_torch(STATE, as_zip=False)), ("net.npz", of_numpy(STATE))],
)
def test_a_damaged_copy_is_read_or_refused(tmp_path: Path, name: str, whole: bytes):
    """Half of a byte's bits turned, or the end cut off, at places all over the file."""
    path = tmp_path / name
    for at in range(0, len(whole), max(1, len(whole) // 200)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            path.write_bytes(content)
            try:
                tensors, _ = load_state_dict(path)
            except AbcrownGraftError as error:
                assert re.fullmatch(rf"{re.escape(str(path))}: .*", str(error))
            else:
                assert all(isinstance(tensor, Tensor) for tensor in tensors.values())


@pytest.mark.parametrize("content", [small(), {"state_dict": small()}, {"when": datetime.date(2022, 7, 17)}])
def test_a_pickled_object_is_never_executed(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(FileFormatError, match=r"write it anew with torch\.save\(model\.state_dict\(\), path\)"):
        load_state_dict(tmp_path / "net.pt")


def test_an_array_of_pickled_objects_is_never_executed(tmp_path: Path):
    np.savez(tmp_path / "net.npz", **{"0.weight": np.array([datetime.date(2022, 7, 17)])})
    with pytest.raises(FileFormatError, match=r"not a complete \.npz file of numbers"):
        load_state_dict(tmp_path / "net.npz")


def test_an_array_of_words_is_refused(tmp_path: Path):
    np.savez(tmp_path / "net.npz", **{"0.weight": np.array(["a"])})
    with pytest.raises(FileFormatError, match=r"not a complete \.npz file of numbers"):
        load_state_dict(tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2), torch.ones(3)], r"a list of 2 entries, not a state dict; a mask belongs to graft\.mask"),
        ([torch.ones(2)], "holds no state dict .* but Tensor"),
        ({}, "holds no state dict .* but dict"),
        ({"epoch": 3, "lr": 0.1}, "holds no state dict: epoch, lr should be tensors"),
        ({f"w{k}": k for k in range(5)}, "w0, w1, w2 and 2 more should be tensors"),
    ],
)
def test_something_else_than_a_state_dict_is_refused(tmp_path: Path, content: object, message: str):
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(ModelError, match=message):
        load_state_dict(tmp_path / "net.pt")


def test_a_mask_file_is_no_checkpoint(tmp_path: Path):
    save_tensors(tmp_path / "mask.safetensors", "mask", {"2": torch.ones(3)}, {})
    with pytest.raises(ModelError, match=r"model\.path: .* this is a 'mask' file, expected 'checkpoint'"):
        load_state_dict(tmp_path / "mask.safetensors")


@pytest.mark.parametrize("prefix", ("", "0.", "module.", "model.", "module.0.", "1.", "_orig_mod.module."))
def test_a_shared_prefix_is_stripped(prefix: str):
    model = small()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    assert equal(fit_keys(state, model), model.state_dict())


def test_a_prefix_that_the_model_has_too_stays():
    wrapped = nn.Sequential(small())
    assert equal(fit_keys(wrapped.state_dict(), wrapped), wrapped.state_dict())


def test_names_that_fit_in_no_way_stay():
    state = {"a.b.weight": torch.ones(1), "a.b.bias": torch.ones(1)}
    assert fit_keys(state, small()) == state
    assert fit_keys({}, small()) == {}


def test_weights_are_copied_in_the_dtype_of_the_model():
    source, target = small(0), small(1)
    apply_state_dict(target, small(0).double().state_dict(), "x")
    assert equal(target.state_dict(), source.state_dict())
    assert target[0].weight.dtype == torch.float32


def test_the_batch_counter_of_a_batch_norm_may_be_absent():
    source, target = small(0), small(1)
    apply_state_dict(target, {k: v for k, v in source.state_dict().items() if "num_batches" not in k}, "x")
    assert torch.equal(target[4].weight, source[4].weight)


def changed(**entries: Tensor | None) -> dict[str, Tensor]:
    """The state of `small()` with entries replaced, added, or (None) left out; `_` stands for a dot."""
    state = {**small().state_dict(), **{name.replace("_", "."): value for name, value in entries.items()}}
    return {name: value for name, value in state.items() if value is not None}


NAN = torch.full((3, 8), torch.nan)

WRONG_STATES = [
    ({"4_bias": None}, r"^net\.pt: does not fit model\.name: missing: 4\.bias$"),
    ({"9_bias": torch.ones(1)}, r"unexpected: 9\.bias$"),
    ({"4_bias": torch.ones(5)}, r"of another shape: 4\.bias \(5,\) instead of \(3,\)$"),
    ({"4_bias": torch.tensor(1.0)}, r"of another shape: 4\.bias \(\) instead of \(3,\)$"),
    ({f"9_{k}": torch.ones(1) for k in range(5)}, r"unexpected: 9\.0, 9\.1, 9\.2 and 2 more$"),
    ({"4_bias": None, "5_bias": torch.ones(1)}, r"missing: 4\.bias; unexpected: 5\.bias$"),
    ({"4_weight": NAN}, r"^net\.pt: 4\.weight has 24 NaN or infinite entries of 24"),
    ({"4_bias": torch.tensor([1.0, 2.0, -torch.inf])}, r"4\.bias has 1 NaN or infinite entries of 3"),
    ({"4_bias": torch.tensor([1.0, 2.0, 1e300], dtype=torch.float64)}, r"4\.bias has 1 NaN or infinite entries of 3"),
    ({"4_bias": torch.ones(3, dtype=torch.complex64)}, r"4\.bias is complex, quantised or sparse"),
    ({"4_bias": torch.ones(3).to_sparse()}, r"4\.bias is complex, quantised or sparse"),
]


@pytest.mark.parametrize(("entries", "message"), WRONG_STATES)
def test_a_state_that_does_not_fit_is_told_and_changes_nothing(entries: dict[str, Tensor | None], message: str):
    model = small(1)
    with pytest.raises(ModelError, match=message):
        apply_state_dict(model, changed(**entries), "net.pt")
    assert equal(model.state_dict(), small(1).state_dict())
