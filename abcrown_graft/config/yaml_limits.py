"""Limits to the nesting and the size of a YAML file; by aliases, a few lines may stand for any number of values."""

from __future__ import annotations

from pathlib import Path

import yaml

from abcrown_graft.errors import ConfigError

MAX_DEPTH = 50  # brackets and indented levels
MAX_VALUES = 10**6  # once every alias is written out


class LimitedLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which takes a file nested deeper than `MAX_DEPTH` for damaged."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"nested more than {MAX_DEPTH} deep", problem_mark=self.peek_event().start_mark
            )
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def check_size(node: yaml.Node | None, path: Path) -> None:
    """Makes sure that a file's tree can be walked through.

    Raises:
        ConfigError: a value holds itself, or there are more than `MAX_VALUES` values once every alias is written out.
    """
    if node is not None:
        _count(node, path, {})


def _count(node: yaml.Node, path: Path, known: dict[int, int | None]) -> int:
    """The number of values below a node, once every alias is written out.

    Args:
        known: of the nodes that were counted, by `id`; None for those that are being counted.

    Raises:
        ConfigError: it is larger than `MAX_VALUES`, or the node holds itself.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = None
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_count(part, path, known) for part in parts)
    found = known[id(node)]
    if found is None:
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: this value holds itself by an alias; write it out")
    if found > MAX_VALUES:
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: more than {MAX_VALUES} values, aliases written out")
    return found
