"""Whatever lies at a path, reading it ends soon, in bounded memory, and with one line that names it."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from abcrown_graft.errors import ConfigError, FileFormatError
from abcrown_graft.files import Limit, check_regular, gunzip, parse_json, read_bytes, read_text, sha256
from abcrown_graft.files.read import MAX_DEPTH

LIMIT = Limit(2**20, "which nothing here is")


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, "no such file"),
    "a folder": (Path.mkdir, r"cannot be read \(this is a folder, not a file\)"),
    "a pipe": (os.mkfifo, r"cannot be read \(this is a pipe; save what it gives in a file and name that\)"),
    "a socket": (a_socket, r"cannot be read \(this is a socket, not a file\)"),
    "an endless device": (to_a_device, r"cannot be read \(this is a device, not a file\)"),
    "a link to itself": (a_loop, r"cannot be read \(Too many levels of symbolic links\)"),
}
READERS = {
    "check_regular": check_regular,
    "read_bytes": lambda path: read_bytes(path, LIMIT),
    "read_text": lambda path: read_text(path, LIMIT),
    "sha256": sha256,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(("make", "told"), STRANGE.values(), ids=STRANGE)
def test_only_regular_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable, told: str, read: Callable
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    make(Path("it"))
    with pytest.raises(FileFormatError, match=rf"^it: {told}$"):
        read(Path("it"))


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_name_that_no_file_can_have_is_refused(read: Callable) -> None:
    with pytest.raises(FileFormatError, match="embedded null byte"):
        read("a\0b")


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link", LIMIT) == b"content"
    assert sha256(tmp_path / "link") == hashlib.sha256(b"content").hexdigest()


def test_the_caller_says_of_which_type_the_error_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_text(tmp_path / "nothing", LIMIT, ConfigError)


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_file_of_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert read_bytes(tmp_path / "file", Limit(size, "")) == b"x" * size
    if size:
        with pytest.raises(FileFormatError, match=rf"file: larger than {size - 1} bytes, as it is here$"):
            read_bytes(tmp_path / "file", Limit(size - 1, "as it is here"))


def test_a_large_limit_is_told_in_its_unit(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(3 * 2**20 + 1)
    with pytest.raises(FileFormatError, match=r"larger than 3 MiB, which nothing is"):
        read_bytes(tmp_path / "sparse", Limit(3 * 2**20, "which nothing is"))


class TestText:
    def test_a_byte_order_mark_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes("\ufeffε".encode())
        assert read_text(tmp_path / "file", LIMIT) == "ε"

    def test_another_encoding_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes("naïve".encode("latin1"))
        with pytest.raises(FileFormatError, match=r"file: not a text file in UTF-8 \(byte 2\)"):
            read_text(tmp_path / "file", LIMIT)


class TestGzip:
    def test_what_was_compressed_comes_back(self) -> None:
        assert gunzip("a.gz", gzip.compress(b"one ") + gzip.compress(b"two"), LIMIT) == b"one two"

    def test_a_bomb_is_refused_at_the_limit(self) -> None:
        bomb = gzip.compress(bytes(2**26))
        assert len(bomb) < 2**17
        with pytest.raises(FileFormatError, match=r"a\.gz: decompresses to more than 1 MiB, which nothing here is"):
            gunzip("a.gz", bomb, LIMIT)

    def test_every_truncation_is_noticed(self) -> None:
        whole = gzip.compress(b"content", mtime=0)
        for length in range(1, len(whole)):
            with pytest.raises(FileFormatError, match=r"a\.gz: not a complete gzip file \([^\n]+\)$"):
                gunzip("a.gz", whole[:length], LIMIT)


class TestJson:
    def test_values_come_back(self) -> None:
        assert parse_json('{"a": [1, 2.5, null, "ε", {}], "b": -Infinity}')["a"] == [1, 2.5, None, "ε", {}]
        assert parse_json("3") == 3

    @pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a": ', "}"), ('[{"a": ', "}]")])
    def test_nesting_is_limited(self, begin: str, end: str) -> None:
        levels = MAX_DEPTH // (len(begin.replace('"a": ', "")))
        parse_json(begin * levels + "0" + end * levels)
        for deeper in (levels + 1, 10**5):
            with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} deep"):
                parse_json(begin * deeper + "0" + end * deeper)

    @pytest.mark.parametrize("text", ["", "{", '{"a": 1} 2', "[" * 10**5, "1" * 5000, "\0", "'a'"])
    def test_what_is_no_json_is_a_value_error(self, text: str) -> None:
        with pytest.raises(ValueError):
            parse_json(text)

    @pytest.mark.parametrize("text", [r'"\ud800"', r'{"\ud800": 1}', r'{"a": ["\udfff"]}'])
    def test_half_a_surrogate_pair_is_refused(self, text: str) -> None:
        """Printing it would raise."""
        with pytest.raises(ValueError, match="surrogates"):
            parse_json(text)
