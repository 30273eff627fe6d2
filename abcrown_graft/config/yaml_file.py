"""A YAML file as a list of (key, value, line): parsed safely, duplicates refused, merge keys expanded.

`include: common.yaml` beside the sections means all values of that file, relative to the including one, before its
own: what the including file sets wins, key by key. Included files may include others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from abcrown_graft.config.option import show
from abcrown_graft.config.schema import GROUPS, SCHEMA, find_option
from abcrown_graft.config.yaml_limits import LimitedLoader, check_size
from abcrown_graft.errors import ConfigError
from abcrown_graft.files import Limit, read_text

_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"
INCLUDE = "include"
LIMIT = Limit(2**24, "which no configuration is")
MAX_INCLUDES = 20  # files that include one another


@dataclass(frozen=True)
class Entry:
    """One value of a YAML file.

    Attributes:
        key: dotted key, known to the schema.
        value: as YAML gives it, not yet checked.
        where: "FILE:LINE", lines from 1; for an included file, also the place that includes it.
    """

    key: str
    value: Any
    where: str


def read_entries(path: Path, including: tuple[Path, ...] = ()) -> list[Entry]:
    """The values of the YAML file `path` in the order of the file, those of the file that it includes first.

    Args:
        path: of the file.
        including: the files that this one is included by, the outermost first.

    Raises:
        ConfigError: the file or an included one cannot be read, is not YAML, is empty or no mapping, has a key twice,
            a key that the schema lacks, or a section without content, or includes itself.
    """
    entries = _read_own(path)
    included = [
        Entry(entry.key, entry.value, _included(entry.where, by.where))
        for by in entries
        if by.key == INCLUDE
        for entry in _read_included(by, path, (*including, path))
    ]
    return [*included, *(entry for entry in entries if entry.key != INCLUDE)]


def _read_included(by: Entry, path: Path, including: tuple[Path, ...]) -> list[Entry]:
    if not isinstance(by.value, str) or not by.value:
        raise ConfigError(f"{by.where}: {INCLUDE}: expected the name of a YAML file, got {show(by.value)}")
    file = path.parent / by.value
    if len(including) > MAX_INCLUDES:
        raise ConfigError(f"{by.where}: {INCLUDE}: more than {MAX_INCLUDES} files include one another")
    if any(file.resolve() == other.resolve() for other in including):
        raise ConfigError(f"{by.where}: {INCLUDE}: {by.value} includes itself; remove one of the includes")
    try:
        return read_entries(file, including)
    except ConfigError as error:
        raise ConfigError(_included(str(error), by.where)) from None


def _included(text: str, where: str) -> str:
    return f"{text} (included by {where})"


def _read_own(path: Path) -> list[Entry]:
    """What stands in the file itself, the entry `include` among it."""
    loader = LimitedLoader(_read_text(path))
    try:
        node = loader.get_single_node()
        check_size(node, path)
        _check_root(node, path)
        _refuse_duplicates(node, path, set())
        return list(_walk(loader, node, "", path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {_one_line(error.problem or error.context)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {_one_line(str(error))}") from None
    finally:
        loader.dispose()


def _read_text(path: Path) -> str:
    """The text of `path`; characters that YAML forbids are refused with their line."""
    text = read_text(path, LIMIT, ConfigError)
    forbidden = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if forbidden:
        line = text.count("\n", 0, forbidden.start()) + 1
        raise ConfigError(f"{path}:{line}: not valid YAML: forbidden character {forbidden.group()!r}")
    return text


def _one_line(text: str | None) -> str:
    return " ".join((text or "syntax error").split())


def _where(path: Path, node: yaml.Node) -> str:
    return f"{path}:{node.start_mark.line + 1}"


def _check_root(node: yaml.Node | None, path: Path) -> None:
    if node is None or node.tag == _NULL:
        raise ConfigError(f"{path}: the file is empty; expected sections such as 'model:' and 'data:'")
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{_where(path, node)}: expected sections such as 'model:' and 'data:', got {_kind(node)}")


def _kind(node: yaml.Node) -> str:
    return "a list" if isinstance(node, yaml.SequenceNode) else repr(node.value)


def _refuse_duplicates(node: yaml.Node, path: Path, visited: set[int]) -> None:
    """Raises where one mapping of the tree has a key twice; merged keys may be overridden."""
    if id(node) in visited or not isinstance(node, yaml.CollectionNode):
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_duplicates(child, path, visited)
        return
    first: dict[str, yaml.Node] = {}
    for key, child in node.value:
        name = _name(key, path)
        if name in first and key.tag != _MERGE:
            line = first[name].start_mark.line + 1
            raise ConfigError(f"{_where(path, key)}: key {name!r} is given twice, first on line {line}; remove one")
        first[name] = key
        _refuse_duplicates(child, path, visited)


def _name(key: yaml.Node, path: Path) -> str:
    if not isinstance(key, yaml.ScalarNode):
        raise ConfigError(f"{_where(path, key)}: a key has to be a plain name")
    return key.value


def _walk(loader: yaml.SafeLoader, node: yaml.MappingNode, prefix: str, path: Path) -> Iterator[Entry]:
    loader.flatten_mapping(node)
    # Merged keys come first, so that a mapping's own keys replace them.
    for name, (key_node, child) in {_name(pair[0], path): pair for pair in node.value}.items():
        key, where = prefix + name, _where(path, key_node)
        if "." in name and (key in SCHEMA or key in GROUPS):
            raise ConfigError(f"{where}: unknown key {name!r}; write it nested, {_nested(name)}")
        if key in GROUPS:
            if not isinstance(child, yaml.MappingNode):
                raise _not_a_section(key, child, where)
            yield from _walk(loader, child, key + ".", path)
        elif key in SCHEMA or key == INCLUDE:
            yield Entry(key, loader.construct_object(child, deep=True), where)
        else:
            find_option(key, where)


def _nested(name: str) -> str:
    """`a.b` as the YAML `{a: {b: ...}}`."""
    text = "..."
    for part in reversed(name.split(".")):
        text = f"{{{part}: {text}}}"
    return text


def _not_a_section(key: str, child: yaml.Node, where: str) -> ConfigError:
    if isinstance(child, yaml.ScalarNode) and child.tag == _NULL:
        return ConfigError(f"{where}: section {key!r} is empty; remove it or indent its keys below it")
    got = "a list" if isinstance(child, yaml.SequenceNode) else show(child.value)
    return ConfigError(f"{where}: {key!r} is a section; expected keys below it, got {got}")
