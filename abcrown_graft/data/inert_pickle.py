"""Reads uint8 arrays out of a pickle without running anything that the pickle names.

A pickle is a program: it may call whatever it can import. Here the five names that a NumPy array
needs are answered with inert stand-ins, which only record their arguments, and any other name is
refused. So neither the file nor NumPy's own reconstruction code decides what happens.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from abcrown_graft.data.locate import read_bytes, reason
from abcrown_graft.errors import DataError

# Each stand-in defines __setstate__, so that a BUILD instruction has no other way to change it.


class _ArrayType:
    """Stands in for `numpy.ndarray`, which is only passed to `_reconstruct`."""

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("an array type has no state")


class _Array:
    """Stands in for `_reconstruct(...)`; its state is (version, shape, dtype, is_fortran, bytes)."""

    def __init__(self, *_ignored: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Dtype:
    """Stands in for `numpy.dtype(code, ...)`."""

    def __init__(self, code: str | bytes, *_ignored: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment, which single bytes have not."""


class _Latin1:
    """Stands in for `_codecs.encode(text, "latin1")`, by which Python 3 writes bytes in protocol 2."""

    def __call__(self, text: str, encoding: str) -> bytes:
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a function has no state")


_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _Latin1(),
}


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return _STAND_INS[module, name]


def read_pickled_dict(path: Path) -> dict[str, Any]:
    """The dictionary in a pickle file; bytes keys become text, each uint8 array a read-only `numpy.ndarray`.

    Only plain containers, numbers, text, bytes and arrays of uint8 are accepted.

    Raises:
        DataError: the pickle is damaged, truncated, no dictionary, or names anything else; nothing was executed.
    """
    content = read_bytes(path)
    try:
        _check_memo(content)
        loaded = _InertUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise DataError(f"{path}: not a pickle of plain arrays ({reason(error)}); nothing in it was executed") from None
    if not isinstance(loaded, dict):
        raise DataError(f"{path}: the pickle holds a {type(loaded).__name__}, expected a dictionary")
    return {_text(key): _array(value, path) if isinstance(value, _Array) else value for key, value in loaded.items()}


def _check_memo(content: bytes) -> None:
    """Raises if an object is numbered higher than the pickle can have objects: the unpickler makes room for as many."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"it numbers an object {argument} in {len(content)} bytes")


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _array(record: _Array, path: Path) -> np.ndarray:
    match record.state:
        case (int(), tuple(shape), _Dtype(code="u1"), int(fortran), bytes(content)) if _fits(shape, content):
            return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")
    raise DataError(f"{path}: an array in the pickle is not a complete array of uint8")


def _fits(shape: tuple[object, ...], content: bytes) -> bool:
    sizes = [size for size in shape if type(size) is int and size >= 0]
    return len(sizes) == len(shape) and math.prod(sizes) == len(content)
