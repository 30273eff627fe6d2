"""From a network and its bounds over a box to the core: one reverse sweep per layer with unstable neurons.

A sweep passes stable and grafted neurons by their exact line and stops at unstable ones, whose
coefficients become entries of M; the activation declares them to be `slope z + gain relu(z)`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from abcrown_graft.bounds.backward import pull_to_input
from abcrown_graft.bounds.propagate import NetworkBounds
from abcrown_graft.bounds.sparse import Columns, LiveNetwork, fits
from abcrown_graft.bounds.tighten import prefers_windows
from abcrown_graft.bounds.windowed import pull_neurons_to_input
from abcrown_graft.core.block import Block
from abcrown_graft.core.core import Core, Layer
from abcrown_graft.errors import UnsupportedError
from abcrown_graft.network import operators as op
from abcrown_graft.network.windows import Windows

ROWS_PER_SWEEP = 256


@dataclass(frozen=True, eq=False)
class _Lines:
    """How coefficients pass one activation: exact slope and intercept, and which neurons stop them."""

    slope: Tensor
    intercept: Tensor
    stopped: Tensor
    gain: float


def reduce_to_core(
    bounds: NetworkBounds, rows: Tensor, offsets: Tensor | None = None, clause: Tensor | None = None
) -> Core:
    """The core of one instance.

    Args:
        bounds: of a batch of one image; rigorous ones make the core's error terms rigorous.
        rows, offsets: the literals `rows @ output + offsets`, `(literals, outputs)` and `(literals,)`; None is 0.
        clause: see `Core`; None makes each literal a clause.

    Raises:
        UnsupportedError: an activation is not declared piecewise linear with a kink at 0 alone, or contradicts that.
    """
    network = bounds.network
    lines = {node.name: _lines(bounds, node.name) for node in network.activations}
    sites = [name for name, line in lines.items() if len(line.stopped)]
    live = _live(bounds, lines) if fits(network) else None
    layers = tuple(_layer(bounds, site, sites, lines, live) for site in sites)
    out_input, out_constant, entries = _sweep_rows(bounds, network.output.name, rows, lines, live)
    none = [rows.new_zeros(len(rows), len(layer.neurons)) for layer in layers]
    out_layers = tuple(Block.of(entries.get(layer.site, zero)) for layer, zero in zip(layers, none, strict=True))
    out_error = rows.abs() @ bounds.error.flatten()
    if offsets is not None:
        out_constant = out_constant + offsets
        out_error = out_error + torch.finfo(offsets.dtype).eps * (out_constant.abs() + offsets.abs())
    clause = torch.arange(len(rows), device=rows.device) if clause is None else clause
    lower, upper = bounds.box.lower.flatten(), bounds.box.upper.flatten()
    return Core(lower, upper, layers, Block.of(out_input), out_layers, out_constant, out_error, clause)


def _live(bounds: NetworkBounds, lines: dict[str, _Lines]) -> LiveNetwork:
    """The network without the neurons that are zero on the whole box."""
    live = {}
    for site, line in lines.items():
        matters = ((line.slope != 0) | (line.intercept != 0)).flatten()
        matters[line.stopped] = True
        live[site] = matters.nonzero().flatten()
    return LiveNetwork(bounds.network, live)


def _layer(
    bounds: NetworkBounds, site: str, sites: list[str], lines: dict[str, _Lines], live: LiveNetwork | None
) -> Layer:
    name = bounds.network.by_name[site].inputs[0]
    neurons = lines[site].stopped
    windowed = prefers_windows(bounds.network, name)
    parts = [
        _sweep_windows(bounds, name, chunk, lines) if windowed else _sweep_neurons(bounds, name, chunk, lines, live)
        for chunk in neurons.split(ROWS_PER_SWEEP)
    ]
    entries = {earlier: torch.cat([part[2][earlier] for part in parts]) for earlier in parts[0][2]}
    z = bounds.pre_activation[site]
    return Layer(
        site,
        neurons,
        z.lower.flatten()[neurons],
        z.upper.flatten()[neurons],
        Block.of(torch.cat([part[0] for part in parts])),
        {sites.index(earlier): Block.of(entry) for earlier, entry in entries.items() if bool(entry.any())},
        torch.cat([part[1] for part in parts]),
        bounds.pre_error[site].flatten()[neurons],
    )


def _lines(bounds: NetworkBounds, site: str) -> _Lines:
    hinge = _hinge(bounds.network.activation(site), site)
    unstable = bounds.unstable(site).flatten(1)[0]
    lines = bounds.relaxations[site]
    differ = (lines.lower_slope != lines.upper_slope) | (lines.lower_intercept != lines.upper_intercept)
    if bool((differ.flatten(1)[0] & ~unstable).any()):
        kind = type(bounds.network.activation(site)).__name__
        raise UnsupportedError(f"{site}: two lines enclose a neuron of {kind} that has no kink inside its bounds")
    slope, intercept = lines.lower_slope[0].clone(), lines.lower_intercept[0].clone()
    slope.view(-1)[unstable] = hinge.slope
    intercept.view(-1)[unstable] = 0
    return _Lines(slope, intercept, unstable.nonzero().flatten(), hinge.gain)


def _hinge(operator: op.Activation, site: str) -> op.Hinge:
    """What neurons are where they have a kink."""
    if operator.hinge is None or operator.kinks is None or any(kink != 0 for kink in operator.kinks):
        raise UnsupportedError(
            f"{site}: activation {type(operator).__name__} is not declared piecewise linear with a kink at 0 alone; "
            "there is no core, and so no search, for networks that have it"
        )
    return operator.hinge


Swept = tuple[Tensor, Tensor, dict[str, Tensor]]
"""Coefficients of the input `(k, d)`, constants `(k,)`, and coefficients of each layer's y `(k, n_j)` by site."""


def _sweep_neurons(
    bounds: NetworkBounds, start: str, neurons: Tensor, lines: dict[str, _Lines], live: LiveNetwork | None
) -> Swept:
    shape = bounds.network.by_name[start].shape
    if live is not None:
        unit = torch.eye(len(neurons), dtype=bounds.box.lower.dtype)
        return _sweep_columns(bounds, start, Columns(neurons, unit), lines, live)
    unit = bounds.box.lower.new_zeros(len(neurons), torch.Size(shape).numel())
    unit[torch.arange(len(neurons), device=unit.device), neurons] = 1
    return _sweep(bounds, start, unit.view(len(neurons), *shape), lines)


def _sweep_rows(
    bounds: NetworkBounds, start: str, rows: Tensor, lines: dict[str, _Lines], live: LiveNetwork | None
) -> Swept:
    """The linear functions `rows` `(k, outputs)` of a flat node."""
    if live is None:
        return _sweep(bounds, start, rows, lines)
    return _sweep_columns(bounds, start, Columns(torch.arange(rows.shape[1]), rows.T), lines, live)


def _sweep_columns(
    bounds: NetworkBounds, start: str, columns: Columns, lines: dict[str, _Lines], live: LiveNetwork
) -> Swept:
    """As `_sweep_neurons`, on live neurons."""
    entries: dict[str, Tensor] = {}

    def rule(site: str, functions: Columns) -> tuple[Columns, Tensor]:
        line, kept, values = lines[site], functions.kept, functions.values
        if len(line.stopped):
            entries[site] = functions.at(line.stopped) * line.gain
        slope = line.slope.flatten()[kept]
        sloped = (slope != 0).nonzero().flatten()
        passed = Columns(kept[sloped], values[sloped] * slope[sloped].unsqueeze(1))
        return passed, line.intercept.flatten()[kept] @ values

    at_input, constant = live.pull_to_input(start, columns, rule)
    return at_input.at(torch.arange(bounds.box.lower[0].numel())), constant, entries


def _sweep_windows(bounds: NetworkBounds, start: str, neurons: Tensor, lines: dict[str, _Lines]) -> Swept:
    """As `_sweep_neurons`, on the neurons' receptive fields."""
    entries: dict[str, Tensor] = {}
    image, one = torch.zeros_like(neurons), bounds.box.lower.new_ones(len(neurons))

    def rule(site: str, windows: Windows) -> tuple[Windows, Tensor]:
        line = lines[site]
        if len(line.stopped):
            entries[site] = _spread(windows)[:, line.stopped] * line.gain
        constant = (windows.values * windows.look_up(line.intercept)).flatten(1).sum(1)
        return replace(windows, values=windows.values * windows.look_up(line.slope)), constant

    at_input, constant = pull_neurons_to_input(bounds.network, start, image, neurons, one, rule)
    return _spread(at_input), constant, entries


def _spread(windows: Windows) -> Tensor:
    """The coefficients over the whole flattened map, `(rows, neurons)`."""
    whole = windows.values.new_zeros(len(windows.values), torch.Size(windows.shape).numel())
    return whole.scatter_add_(1, windows.positions()[windows.place].flatten(1), windows.values.flatten(1))


def _sweep(bounds: NetworkBounds, start: str, rows: Tensor, lines: dict[str, _Lines]) -> Swept:
    """The linear functions `rows` `(k, *shape)` of a node."""
    entries: dict[str, Tensor] = {}

    def rule(site: str, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        line = lines[site]
        if len(line.stopped):
            entries[site] = coefficients[0].flatten(1)[:, line.stopped] * line.gain
        constant = (coefficients * line.intercept).flatten(2).sum(2)
        return coefficients * line.slope, constant

    at_input, constant = pull_to_input(bounds.network, start, rows.unsqueeze(0), rule)
    return at_input[0].flatten(1), constant[0], entries
