from __future__ import annotations

import gzip

import pytest

from abcrown_graft.errors import FileFormatError, UnsupportedError
from abcrown_graft.files import Limit
from abcrown_graft.formats.vnnlib import read
from abcrown_graft.formats.vnnlib.read import existing, read_property, read_vnnlib

TEXT = """; two inputs, one output
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(assert (>= X_0 -1))
(assert (<= X_0 1))
(assert (>= X_1 -0.5))
(assert (<= X_1 0.5))
(assert (<= Y_0 -1))
"""


def write(tmp_path, content: str | bytes, name: str = "p.vnnlib"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_file_is_read(tmp_path):
    (query,) = read_vnnlib(write(tmp_path, TEXT))
    assert (query.lower.tolist(), query.upper.tolist()) == ([-1, -0.5], [1, 0.5])
    assert [(c.rows.tolist(), c.offsets.tolist()) for c in query.unsafe] == [([[1]], [1])]


def test_the_interface_comes_with_the_queries(tmp_path):
    found = read_property(str(write(tmp_path, TEXT)), inputs=2, outputs=1)
    assert (found.interface.version, found.interface.input.size, found.interface.output.size) == ("1.0", 2, 1)
    assert len(found.queries) == 1


@pytest.mark.parametrize("name", ["p.vnnlib.gz", "p.vnnlib"])
def test_a_compressed_file_is_known_by_its_content(tmp_path, name):
    assert len(read_vnnlib(write(tmp_path, gzip.compress(TEXT.encode()), name))) == 1


def test_the_compressed_file_stands_in_for_the_plain_one(tmp_path):
    path = write(tmp_path, gzip.compress(TEXT.encode()), "p.vnnlib.gz")
    assert existing(tmp_path / "p.vnnlib") == path
    assert len(read_vnnlib(tmp_path / "p.vnnlib")) == 1
    plain = write(tmp_path, TEXT)
    assert existing(plain) == plain


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, None), "2 elements of X are declared, the network has 3"),
        ((2, 2), "1 elements of Y are declared, .* has 2"),
    ],
)
def test_the_network_must_have_the_declared_sizes(tmp_path, sizes, message):
    with pytest.raises(FileFormatError, match=message):
        read_vnnlib(write(tmp_path, TEXT), *sizes)


def test_errors_name_the_file_and_the_line(tmp_path):
    with pytest.raises(FileFormatError, match=r"p\.vnnlib: line 9: 'Y_1' is not declared$"):
        read_vnnlib(write(tmp_path, TEXT.replace("Y_0 -1", "Y_1 -1")))
    with pytest.raises(UnsupportedError, match=r"p\.vnnlib: line 9: comparisons with '<'"):
        read_vnnlib(write(tmp_path, TEXT.replace("<= Y_0", "< Y_0")))


def test_no_prefix_of_a_file_is_a_property(tmp_path):
    whole = TEXT.rstrip()
    for length in range(len(whole)):
        with pytest.raises(FileFormatError):
            read_vnnlib(write(tmp_path, whole[:length]))
    assert len(read_vnnlib(write(tmp_path, whole))) == 1


def test_no_prefix_of_a_compressed_file_is_a_property(tmp_path):
    whole = gzip.compress(TEXT.encode(), mtime=0)
    for length in range(len(whole)):
        with pytest.raises(FileFormatError):
            read_vnnlib(write(tmp_path, whole[:length], "p.vnnlib.gz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "X_0 is not declared; is the file complete"),
        (b"\xff\xfe(", "not a text file"),
        (b"\x1f\x8bnothing", "not a complete gzip file"),
        (gzip.compress(TEXT.encode())[:-5], "not a complete gzip file"),
        (gzip.compress(TEXT.encode()) + b"more", "not a complete gzip file"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    with pytest.raises(FileFormatError, match=message):
        read_vnnlib(write(tmp_path, content))


def test_a_flipped_byte_in_a_compressed_file_is_noticed(tmp_path):
    whole = bytearray(gzip.compress(TEXT.encode(), mtime=0))
    whole[-6] ^= 1  # of the checksum
    with pytest.raises(FileFormatError, match="not a complete gzip file"):
        read_vnnlib(write(tmp_path, bytes(whole)))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileFormatError, match=r"missing\.vnnlib: no such file"):
        read_vnnlib(tmp_path / "missing.vnnlib")
    with pytest.raises(FileFormatError, match="no such file"):
        read_vnnlib(tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_of_any_size_is_not_taken_into_memory(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(read, "LIMIT", Limit(1000, "split the file"))
    with pytest.raises(FileFormatError, match="(larger than|decompresses to more than) 1000 bytes, split the file"):
        read_vnnlib(write(tmp_path, pack(TEXT.encode() + b" " * 1000)))


def test_an_empty_box_leaves_no_query(tmp_path):
    assert read_vnnlib(write(tmp_path, TEXT.replace("X_1 -0.5", "X_1 0.75"))) == []


def test_a_property_that_every_network_has_is_told_with_file_and_line(tmp_path, caplog):
    found = read_property(path := write(tmp_path, TEXT.replace("X_1 -0.5", "X_1 0.75")))
    why = "lines 7 and 8 contradict each other: there is no counterexample, and every network has the property (unsat)"
    assert found.queries == ()
    assert found.warning == f"{path}:8: {why}"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("WARNING", found.warning)]


def test_so_is_one_that_no_network_has(tmp_path, caplog):
    found = read_property(path := write(tmp_path, TEXT.replace("(<= Y_0 -1)", "(or (<= Y_0 1) (>= Y_0 0))")))
    assert (
        found.warning == f"{path}:9: line 9 allows every output: every input of the box is a counterexample, and "
        "no network has the property (sat)"
    )
    assert len(found.queries) == 1, "the counterexample is still to be found"
    assert caplog.messages == [found.warning]


def test_an_ordinary_property_is_nothing_to_tell(tmp_path, caplog):
    assert read_property(write(tmp_path, TEXT)).warning is None
    assert not caplog.records
