"""Which model a mask, a score file or an instability dump belongs to.

Such files are keyed by site name and carry the identity of their model, so that one made for
another network is refused with a reason instead of being matched by position.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from abcrown_graft.errors import FileFormatError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModelIdentity:
    """What a model is, without the model.

    Attributes:
        architecture: hexadecimal hash of the structure.
        weights: hexadecimal hash of the parameters and buffers.
        sites: name of each activation and its neuron shape without the batch, in forward order.
    """

    architecture: str
    weights: str
    sites: Shapes

    def __post_init__(self) -> None:
        shapes = {name: tuple(int(size) for size in shape) for name, shape in self.sites.items()}
        object.__setattr__(self, "sites", shapes)

    def to_header(self) -> dict[str, Any]:
        """A JSON object; the order of the sites is kept."""
        sites = [[name, list(shape)] for name, shape in self.sites.items()]
        return {"architecture": self.architecture, "weights": self.weights, "sites": sites}

    @classmethod
    def from_header(cls, header: Any, source: str = "header") -> ModelIdentity:
        """The identity that `to_header` wrote.

        Args:
            header: the JSON object.
            source: what it was read from, for the error message.

        Raises:
            FileFormatError: the object is not one that `to_header` writes.
        """
        try:
            architecture, weights = header["architecture"], header["weights"]
            sites = {name: tuple(shape) for name, shape in header["sites"]}
            texts = [architecture, weights, *sites]
            sizes = [size for shape in sites.values() for size in shape]
        except (KeyError, TypeError, ValueError):
            raise FileFormatError(f"{source}: no valid model identity in the header; make the file again") from None
        if not all(isinstance(text, str) for text in texts) or not all(type(s) is int and s >= 0 for s in sizes):
            raise FileFormatError(f"{source}: the model identity in the header is malformed; make the file again")
        if len(sites) != len(header["sites"]):
            raise FileFormatError(f"{source}: the model identity in the header names a site twice")
        return cls(architecture, weights, sites)


def explain_difference(expected: ModelIdentity, found: ModelIdentity) -> str:
    """One line saying how `found` differs from `expected`."""
    sites = explain_sites(expected.sites, found.sites)
    if sites:
        return sites
    if expected.architecture != found.architecture:
        return (
            f"same sites, another structure (architecture {found.architecture[:12]} "
            f"instead of {expected.architecture[:12]})"
        )
    if expected.weights != found.weights:
        return f"same structure, other weights ({found.weights[:12]} instead of {expected.weights[:12]})"
    return "no difference"


def explain_sites(expected: Shapes, found: Shapes) -> str:
    """One line saying which sites of `found` are missing, extra or of another shape; empty if none."""
    missing = [repr(name) for name in expected if name not in found]
    extra = [repr(name) for name in found if name not in expected]
    reshaped = [
        f"{name!r} {tuple(found[name])} instead of {tuple(expected[name])}"
        for name in expected
        if name in found and tuple(found[name]) != tuple(expected[name])
    ]
    parts = {"missing sites": missing, "extra sites": extra, "sites of another shape": reshaped}
    return "; ".join(f"{what}: {_abbreviate(names)}" for what, names in parts.items() if names)


def _abbreviate(items: Iterable[str], limit: int = 4) -> str:
    items = list(items)
    rest = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest
