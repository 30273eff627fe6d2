"""Reading a property: VNN-LIB 1.0 or 2.0, plain or compressed."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from abcrown_graft.errors import AbcrownGraftError, FileFormatError
from abcrown_graft.formats.vnnlib.expression import tokens
from abcrown_graft.formats.vnnlib.formula import Formula
from abcrown_graft.formats.vnnlib.interface import Interface
from abcrown_graft.formats.vnnlib.query import Query, make_queries
from abcrown_graft.formats.vnnlib.version1 import parse_version1
from abcrown_graft.formats.vnnlib.version2 import parse_version2

MAX_BYTES = 2**26  # of text; a compressed file can claim to be anything
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class Property:
    """A property that a network may have.

    Attributes:
        interface: what it declares of the network.
        queries: one for each box of inputs. None at all: no input satisfies the assertions, every network
            has the property.
    """

    interface: Interface
    queries: tuple[Query, ...]


def read_vnnlib(path: str | os.PathLike[str], inputs: int | None = None, outputs: int | None = None) -> list[Query]:
    """The queries of a property, see `read_property`; an empty list: there is no counterexample, whatever the network.

    Args:
        path: of a `.vnnlib` or `.vnnlib.gz`.
        inputs, outputs: how many the network has; None to take what the file declares.

    Raises:
        FileFormatError: the file is missing, damaged, not VNN-LIB, or not for such a network.
        UnsupportedError: it is VNN-LIB beyond boxes of inputs and linear constraints of outputs.
    """
    return list(read_property(path, inputs, outputs).queries)


def read_property(path: str | os.PathLike[str], inputs: int | None = None, outputs: int | None = None) -> Property:
    """Declarations and queries of a property; arguments and errors as of `read_vnnlib`."""
    text = _read_text(Path(path))
    try:
        interface, formula = _parse(text)
        for declared, size in ((interface.input, inputs), (interface.output, outputs)):
            if size is not None and declared.size != size:
                raise FileFormatError(
                    f"{declared.size} elements of {declared.name} are declared, the network has {size}"
                )
        queries = make_queries(formula, interface.input.size, interface.output.size)
    except AbcrownGraftError as error:
        raise type(error)(f"{path}: {error}") from None
    return Property(interface, tuple(queries))


def read_formula(path: str | os.PathLike[str]) -> Formula:
    """What the file asserts of a counterexample, in exact arithmetic.

    Raises:
        FileFormatError, UnsupportedError: as of `read_vnnlib`, but for what depends on the network.
    """
    text = _read_text(Path(path))
    try:
        return _parse(text)[1]
    except AbcrownGraftError as error:
        raise type(error)(f"{path}: {error}") from None


def _parse(text: str) -> tuple[Interface, Formula]:
    return (parse_version2 if _is_version2(text) else parse_version1)(text)


def _is_version2(text: str) -> bool:
    first = [token.text for token in itertools.islice(tokens(text), 2)]
    return first == ["(", "vnnlib-version"]


def existing(path: Path) -> Path:
    """The path, or that of the compressed file if only that is there: the competition's lists name the plain ones.

    Raises:
        FileFormatError: there is neither.
    """
    for candidate in (path, path.with_name(f"{path.name}.gz")):
        if candidate.is_file():
            return candidate
    raise FileFormatError(f"{path}: no such file")


def _read_text(path: Path) -> str:
    try:
        with existing(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if content.startswith(GZIP):
            with gzip.open(io.BytesIO(content)) as unpacked:
                content = unpacked.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise FileFormatError(f"{path}: more than {MAX_BYTES} bytes of text; split the file")
        return content.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path}: cannot be read completely ({error})") from None
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from None
