"""Gemm: a linear layer."""

from __future__ import annotations

from abcrown_graft.formats.onnx.call import Call
from abcrown_graft.formats.onnx.elementwise import broadcast_shape, scaled
from abcrown_graft.formats.onnx.linear import swapped, times_matrix
from abcrown_graft.formats.onnx.operators.registry import OPERATORS
from abcrown_graft.formats.onnx.values import Constant, Operand, Variable


@OPERATORS.register("Gemm")
def gemm(call: Call) -> Operand:
    """`alpha * A @ B + beta * C`, A or B and C constant, the matrices transposed where asked for."""
    options = call.options(alpha=1.0, beta=1.0, transA=0, transB=0)
    if any(len(call.operand(position).shape) != 2 for position in (0, 1)):
        raise call.damaged("an operand that is not a matrix")
    part = "product" if call.has(2) else ""
    product = _product(call, options["alpha"], bool(options["transA"]), bool(options["transB"]), part)
    if not call.has(2):
        return product
    bias = options["beta"] * call.weight(2)
    if broadcast_shape(call, product.shape, bias.shape) != product.shape:
        raise call.damaged(f"a bias of shape {list(bias.shape)} for a product of shape {list(product.shape)}")
    return scaled(call, product, 1.0, bias)


def _product(call: Call, alpha: float, transposed_a: bool, transposed_b: bool, part: str) -> Variable:
    first, second = call.operand(0), call.operand(1)
    if isinstance(first, Constant):
        matrix = alpha * (call.weight(0) if transposed_a else call.weight(0).T)
        columns = call.variable(1) if transposed_b else swapped(call, call.variable(1), part="columns")
        return swapped(call, times_matrix(call, columns, matrix, part="transposed"), part=part)
    rows = swapped(call, first, part="rows") if transposed_a else first
    if isinstance(second, Constant):
        matrix = alpha * (call.weight(1).T if transposed_b else call.weight(1))
        return times_matrix(call, rows, matrix, part=part)
    raise call.refuse("the product of two tensors that depend on the network's input")
