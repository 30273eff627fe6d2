"""A pickle is read as data: arrays come out exactly, and no pickle can make anything run."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from abcrown_graft.data.inert_pickle import read_pickled_dict
from abcrown_graft.errors import DataError

ARRAY = np.arange(6, dtype=np.uint8).reshape(2, 3)


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "test_batch"
    path.write_bytes(content)
    return path


class Reduces:
    """Pickles as the call `function(*arguments)`, with `state` as its state."""

    def __init__(self, function: object, *arguments: object, state: object = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple:
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("array", [ARRAY, np.asfortranarray(ARRAY), ARRAY[:1, ::2]])
def test_arrays_and_plain_values_come_out_as_they_went_in(tmp_path: Path, protocol: int, array: np.ndarray) -> None:
    original = {"data": array, "labels": [3, 1], "names": ["a", b"b"], "more": {"k": (1.5, None, True)}}
    loaded = read_pickled_dict(write(tmp_path, pickle.dumps(original, protocol=protocol)))
    assert loaded["data"].dtype == np.uint8 and np.array_equal(loaded.pop("data"), original.pop("data"))
    assert loaded == original


def test_a_pickle_by_the_older_numpy_is_read_without_a_warning(tmp_path: Path) -> None:
    content = pickle.dumps({"data": ARRAY}, protocol=2)
    old = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    new = content.replace(b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n")
    assert old != new
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for variant in (old, new):
            assert np.array_equal(read_pickled_dict(write(tmp_path, variant))["data"], ARRAY)


@pytest.mark.parametrize("function", [os.system, os.mkdir, eval, exec, getattr, print, np.load, pickle.loads])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_function_is_called(tmp_path: Path, function: object, protocol: int) -> None:
    content = pickle.dumps({"data": Reduces(function, "anything")}, protocol=protocol)
    with pytest.raises(DataError, match=r"it asks for .*, which is refused\); nothing in it was executed"):
        read_pickled_dict(write(tmp_path, content))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_leaves_no_trace(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"data": Reduces(os.mkdir, str(tmp_path / "trace"))}, protocol=protocol)
    with pytest.raises(DataError):
        read_pickled_dict(write(tmp_path, content))
    assert not (tmp_path / "trace").exists()
    pickle.loads(content)
    assert (tmp_path / "trace").exists(), "the ordinary reader does run it, so the check above means something"


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\nndarray\n(dVx\nI1\nsb.",  # BUILD: set attributes on what stands for a class
        b"c_codecs\nencode\n(N(dV__new__\nI1\nstb.",
        b"c_codecs\nencode\n(N(dV__setstate__\nI1\nstb.",
        b"cnumpy.core.multiarray\n_reconstruct\n(dVx\nI1\nsb.",
        b"cnumpy\ndtype.__class__\n.",
    ],
)
def test_what_stands_for_numpy_cannot_be_changed(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="not a pickle of plain arrays"):
        read_pickled_dict(write(tmp_path, content))
    sound = pickle.dumps({"data": ARRAY}, protocol=2)
    assert np.array_equal(read_pickled_dict(write(tmp_path, sound))["data"], ARRAY)


def test_arrays_of_another_type_are_refused(tmp_path: Path) -> None:
    for array in (ARRAY.astype(np.float32), np.array([Path, None]), ARRAY.astype(np.int8), np.array(["a"])):
        with pytest.raises(DataError):
            read_pickled_dict(write(tmp_path, pickle.dumps({"data": array}, protocol=2)))


@pytest.mark.parametrize("shape", [(2, 4), (-2, -3), (2, 3.0), (6, True), [2, 3]])
def test_a_shape_that_does_not_fit_its_bytes_is_refused(tmp_path: Path, shape: object) -> None:
    reconstruct, arguments, state = ARRAY.__reduce__()
    forged = Reduces(reconstruct, *arguments, state=(state[0], shape, *state[2:]))
    with pytest.raises(DataError, match="not a complete array of uint8"):
        read_pickled_dict(write(tmp_path, pickle.dumps({"data": forged}, protocol=2)))


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps({"data": ARRAY, "labels": [3, 1]}, protocol=2)
    for length in range(len(content)):
        with pytest.raises(DataError, match="test_batch: not a pickle"):
            read_pickled_dict(write(tmp_path, content[:length]))


def test_only_a_dictionary_will_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds a list, expected a dictionary"):
        read_pickled_dict(write(tmp_path, pickle.dumps([1])))


@pytest.mark.parametrize("put", [b"r" + (2**31).to_bytes(4, "little"), b"p99999999999\n"])
def test_a_number_of_an_object_that_would_fill_the_memory_is_refused(tmp_path: Path, put: bytes) -> None:
    with pytest.raises(DataError, match="it numbers an object [0-9]+ in [0-9]+ bytes"):
        read_pickled_dict(write(tmp_path, b"\x80\x02}" + put + b"."))


def test_lists_in_lists_are_refused_without_end(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_pickled_dict(write(tmp_path, b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."))
