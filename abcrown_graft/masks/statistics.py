"""Sums over images of what belongs to each neuron, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

Sums = Mapping[str, tuple[Tensor, ...]]
"""By site, tensors of the site's shape."""


def total(batches: Iterable[Sums]) -> dict[str, tuple[Tensor, ...]]:
    """The sums of all batches, each of which has the same sites and as many tensors at each."""
    sums: dict[str, tuple[Tensor, ...]] = {}
    for batch in batches:
        for site, found in batch.items():
            known = sums.get(site)
            sums[site] = found if known is None else tuple(a + b for a, b in zip(known, found, strict=True))
    return sums
