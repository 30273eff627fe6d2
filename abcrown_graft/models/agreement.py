"""Whether a module computes what its graph says, up to rounding."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from abcrown_graft.bounds.evaluation import unexplained, value_and_rounding
from abcrown_graft.errors import ModelError
from abcrown_graft.network.forward import evaluate
from abcrown_graft.network.graph import Network


@torch.no_grad()
def check_agreement(module: nn.Module, exact: Network, executed: Network, points: Tensor, what: str) -> None:
    """Raises unless module and graph agree at some points, in float64 and in float32, up to rounding.

    The module is asked for batches of several sizes, and for each point more than once. The tolerance is the bound on
    the rounding of the network at that point, see `bounds/evaluation.py`. In float64 it is so narrow that hardly any
    other function passes; in float32 it is wider, and shows that the module as it is executed rounds like one.

    Args:
        module: in float32; takes `(n, *input shape)`.
        exact: its graph in float64, which is verified.
        executed: the same, with an operator for every step, see `trace.as_executed`.
        points: `(n, *input shape)`, n at least 1.
        what: the points are, for messages, e.g. "random images".

    Raises:
        ModelError: the outputs differ by more than rounding explains, or float32 rounds more than the margin between
            the best two outputs at most of the points, so that nothing follows from agreement.
    """
    points = points.detach().cpu().float()
    outputs, units = (t.flatten(1).cpu() for t in value_and_rounding(executed, points))
    rounding = {dtype: units * (torch.finfo(dtype).eps / 2) for dtype in (torch.float32, torch.float64)}
    wide, narrow = rounding[torch.float32], 2 * rounding[torch.float64]
    _compare(evaluate(exact, points.to(exact.device, torch.float64)), outputs, narrow, what)
    with _full_precision():
        for found in _answers(copy.deepcopy(module).double(), points.double()):
            _compare(found, outputs, narrow, what)
        for found in _answers(module, points):
            _compare(found, outputs, wide + narrow, what)
    _refuse_lost_margins(outputs, wide, what)


def spread(points: Tensor, count: int) -> Tensor:
    """At most so many of the points, from the first to the last."""
    at = torch.linspace(0, len(points) - 1, min(count, len(points))).round().long()
    return points[at]


@contextmanager
def _full_precision() -> Iterator[None]:
    """Products in float32 are float32's: no TF32 or bfloat16 in place of it."""
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution


def _answers(module: nn.Module, points: Tensor) -> Iterator[Tensor]:
    """The module's outputs, asked for in batches of different sizes."""
    device = next((t.device for t in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    for size in (len(points), 2, 1):
        yield torch.cat([module(part) for part in points.to(device).split(size)])


def _compare(found: Tensor, expected: Tensor, allowed: Tensor, what: str) -> None:
    """Raises unless they agree; an output that is not finite in the graph either is not compared."""
    found = found.flatten(1).double().cpu()
    finite = expected.isfinite() & allowed.isfinite()
    if found.shape != expected.shape:
        raise ModelError(
            f"the model's output has shape {tuple(found.shape)}, that of its graph {tuple(expected.shape)}"
        )
    allowed = allowed + torch.finfo(torch.float32).tiny
    if (worst := unexplained(found[finite], expected[finite], allowed[finite])) is not None:
        raise ModelError(
            "the model's graph does not compute what the model does: on "
            f"{what} their outputs differ by {worst[0]:.2g}, and rounding explains {worst[1]:.2g}; what depends on "
            "more than one image and the weights, or is computed less precisely than the weights are, cannot be "
            "verified"
        )


def _refuse_lost_margins(outputs: Tensor, rounding: Tensor, what: str) -> None:
    """Raises if float32 rounds more than the margin between the best two outputs at most of the points.

    Points at which they are equal do not count: no margin is at stake.
    """
    if outputs.shape[1] < 2:
        return
    best, classes = outputs.topk(2, dim=1)
    margins, errors = best[:, 0] - best[:, 1], rounding.gather(1, classes).sum(1)
    counted = margins > 0
    lost = counted & ~(errors < margins)
    if 2 * int(lost.sum()) > int(counted.sum()):
        example = int(lost.nonzero()[0])
        raise ModelError(
            f"float32 may round the model's outputs by more than the margin between the best two, "
            f"{float(errors[example]):.2g} against {float(margins[example]):.2g}, at {int(lost.sum())} of "
            f"{len(outputs)} {what}, so what it computes says nothing about the network; scale weights and inputs "
            "so that large terms do not cancel"
        )
