"""Trained weights: reading the usual file formats, fitting them to a module, writing safetensors.

Nothing here runs code from a file: `.pt` files are read with `weights_only=True`, `.npz` files without pickles.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from abcrown_graft.errors import FileFormatError, ModelError
from abcrown_graft.files import check_archive, read_safetensors, save_tensors

TORCH_SUFFIXES = (".pt", ".pth", ".model", ".ckpt")
WRAPPINGS = ("state_dict", "model_state_dict", "model", "net")
DEEPEST = 5  # wrappings taken off; a damaged list may hold itself
SHOWN = 3  # names listed in an error message before "and N more"


def load_state_dict(
    path: str | os.PathLike[str], key: str = "model.path", hint: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors of a checkpoint by name, as the file names them, on the CPU.

    Args:
        path: `.safetensors`, `.npz`, or a `.pt`, `.pth`, `.model`, `.ckpt` file of `torch.save`. The usual wrappings
            of the last (`{"state_dict": ...}`, `{"model": ...}`, a list of one) are taken off.
        key: the configuration key that named the file, for messages.
        hint: how to make the file, for the message if it is missing.

    Returns:
        The tensors, and this package's header (provenance) or None.

    Raises:
        ModelError: the file is missing, of an unknown kind, or holds something else than a state dict.
        FileFormatError: the file is damaged or truncated.
    """
    path = Path(path)
    if not path.is_file():
        advice = hint or "give the path of a checkpoint (.safetensors, .npz, .pt, .pth)"
        raise ModelError(f"{key}: {path}: no such file; {advice}")
    if path.suffix == ".safetensors":
        return _read_own(path, key)
    check_archive(path)
    if path.suffix == ".npz":
        return _read_npz(path), None
    if path.suffix in TORCH_SUFFIXES:
        return _unwrapped(_read_torch(path), path), None
    known = ", ".join((".safetensors", ".npz", *TORCH_SUFFIXES))
    raise ModelError(f"{key}: {path}: unknown kind of checkpoint {path.suffix!r}; known: {known}")


def _read_own(path: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    tensors, header = read_safetensors(path)
    if header is not None and header.get("kind") != "checkpoint":
        raise ModelError(f"{key}: {path}: this is a {header.get('kind')!r} file, expected 'checkpoint'")
    return tensors, header


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}
    except Exception as error:  # a damaged file makes NumPy raise nearly anything
        raise FileFormatError(f"{path}: not a complete .npz file of numbers ({_first_line(error)})") from None


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise FileFormatError(
            f"{path}: damaged, or holds more than tensors (whole modules are not read); "
            "write it anew with torch.save(model.state_dict(), path)"
        ) from None
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise FileFormatError(f"{path}: not a complete torch.save file ({_first_line(error)})") from None


def _unwrapped(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict inside `content`."""
    for _ in range(DEEPEST):
        if isinstance(content, (list, tuple)) and len(content) == 1:
            content = content[0]
        elif isinstance(content, Mapping) and (wrapping := _wrapping(content)) is not None:
            content = content[wrapping]
        else:
            break
    if isinstance(content, (list, tuple)):
        raise ModelError(f"{path}: a list of {len(content)} entries, not a state dict; a mask belongs to graft.mask")
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path}: holds no state dict (a dict of tensors by name) but {type(content).__name__}")
    strange = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise ModelError(f"{path}: holds no state dict: {_listed(strange)} should be tensors")
    return {str(name): value.detach() for name, value in content.items()}


def _wrapping(content: Mapping[Any, Any]) -> str | None:
    """The key under which a training script has put the state dict, if any."""
    return next((key for key in WRAPPINGS if isinstance(content.get(key), (Mapping, list, tuple))), None)


def fit_keys(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`state` without leading name parts that all its entries share and `model` lacks (`module.`, `model.`, `0.`).

    As many parts go as make the most names fit; nothing is renamed if that helps nothing.
    """
    wanted = set(model.state_dict())
    best = current = dict(state)
    while (prefix := _common_prefix(current)) is not None:
        current = {name[len(prefix) :]: tensor for name, tensor in current.items()}
        if len(wanted & current.keys()) > len(wanted & best.keys()):
            best = current
    return best


def _common_prefix(names: Iterable[str]) -> str | None:
    """The first dotted part, with its dot, that all names share."""
    heads = {head + dot for head, dot, _ in (name.partition(".") for name in names)}
    head = heads.pop() if len(heads) == 1 else ""
    return head if head.endswith(".") else None


def apply_state_dict(model: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Copies `state` into `model`, whose dtypes and device stay.

    Names must agree exactly, save that `num_batches_tracked` of a batch norm may be absent.

    Args:
        model: changed in place; left as it is on an error.
        state: by the names of `model.state_dict()`, see `fit_keys`.
        path: the file it came from, for messages.

    Raises:
        ModelError: names are missing or unexpected, a shape differs, or a weight is NaN or infinite.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    found = [f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names]
    if found:
        raise ModelError(f"{path}: does not fit model.name: {'; '.join(found)}")
    converted = {name: _converted(name, state[name], own[name], path) for name in own if name in state}
    model.load_state_dict(converted, strict=False)


def _converted(name: str, tensor: Tensor, own: Tensor, path: str | os.PathLike[str]) -> Tensor:
    """`tensor` in the dtype of the model's `own`."""
    if tensor.is_complex() or tensor.is_quantized or tensor.layout is not torch.strided:
        raise ModelError(f"{path}: {name} is complex, quantised or sparse; weights are dense real tensors")
    tensor = tensor.to(own.dtype)
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ModelError(f"{path}: {name} has {bad} NaN or infinite entries of {tensor.numel()}; train the model again")
    return tensor


def save_checkpoint(path: str | os.PathLike[str], model: nn.Module, header: Mapping[str, Any]) -> None:
    """Writes the state dict of `model` with its provenance `header`, atomically, as safetensors.

    Args:
        path: of the file.
        model: plain or grafted, without normalisation.
        header: where it comes from; JSON.
    """
    save_tensors(path, "checkpoint", model.state_dict(), header)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
