"""The operators that are read, one file each; every file registers its rule in `OPERATORS`."""

from abcrown_graft.formats.onnx.operators import (  # noqa: F401  (each registers its rule)
    add,
    average_pool,
    batch_normalization,
    cast,
    clip,
    concat,
    constant,
    constant_of_shape,
    conv,
    div,
    dropout,
    flatten,
    gather,
    gemm,
    global_average_pool,
    identity,
    leaky_relu,
    matmul,
    max_pool,
    mul,
    pad,
    relu,
    reshape,
    shape,
    slice,
    squeeze,
    sub,
    transpose,
    unsqueeze,
    where,
)
from abcrown_graft.formats.onnx.operators.registry import OPERATORS

__all__ = ["OPERATORS"]
