"""Reading a property: VNN-LIB 1.0 or 2.0, plain or compressed."""

from __future__ import annotations

import itertools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from abcrown_graft.errors import AbcrownGraftError, FileFormatError
from abcrown_graft.files import GZIP_MAGIC, Limit, gunzip, read_bytes
from abcrown_graft.files.read import decode
from abcrown_graft.formats.vnnlib.disjuncts import normal_form
from abcrown_graft.formats.vnnlib.expression import tokens
from abcrown_graft.formats.vnnlib.formula import Formula
from abcrown_graft.formats.vnnlib.interface import Interface
from abcrown_graft.formats.vnnlib.query import Query, make_queries
from abcrown_graft.formats.vnnlib.trivial import remark_on
from abcrown_graft.formats.vnnlib.version1 import parse_version1
from abcrown_graft.formats.vnnlib.version2 import parse_version2

log = logging.getLogger(__name__)

LIMIT = Limit(2**26, "more than is read of a property; split the file")


@dataclass(frozen=True, eq=False)
class Property:
    """A property that a network may have.

    Attributes:
        interface: what it declares of the network.
        queries: one for each box of inputs. None at all: nothing satisfies the assertions, every network has the
            property.
        warning: why every network has the property, or none, if that is seen; names file and line.
    """

    interface: Interface
    queries: tuple[Query, ...]
    warning: str | None = None


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
    """Declarations and queries of a property; arguments and errors as of `read_vnnlib`.

    That every network has the property, or none, is logged as a warning.
    """
    text = _read_text(Path(path))
    try:
        interface, formula = _parse(text)
        for declared, size in ((interface.input, inputs), (interface.output, outputs)):
            if size is not None and declared.size != size:
                raise FileFormatError(
                    f"{declared.size} elements of {declared.name} are declared, the network has {size}"
                )
        form = normal_form(formula)
        queries = make_queries(form, interface.input.size, interface.output.size)
    except AbcrownGraftError as error:
        raise type(error)(f"{path}: {error}") from None
    remark = remark_on(form, reachable=bool(queries))
    if remark is None:
        return Property(interface, tuple(queries))
    warning = f"{path}:{remark.line}: {remark.text}"
    log.warning("%s", warning)
    return Property(interface, () if remark.holds else tuple(queries), warning)


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
    content = read_bytes(existing(path), LIMIT)
    return decode(path, gunzip(path, content, LIMIT) if content.startswith(GZIP_MAGIC) else content)
