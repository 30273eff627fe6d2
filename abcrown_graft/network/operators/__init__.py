"""The operators that a network is made of: a file for each, with all of its rules.

A new one is a class in a file of its own and an import here. What it has to define is said by the bases:
`operator.Operator`, `affine.AffineOperator` and `activation.Activation`.
"""

from abcrown_graft.network.operators import identity  # noqa: F401  (registers its rules)
from abcrown_graft.network.operators.activation import Activation, Hinge
from abcrown_graft.network.operators.add import Add
from abcrown_graft.network.operators.affine import AffineOperator, NonNegative, WithoutWindows
from abcrown_graft.network.operators.avg_pool2d import AvgPool2d
from abcrown_graft.network.operators.concat import Concat
from abcrown_graft.network.operators.conv2d import Conv2d
from abcrown_graft.network.operators.grafted_relu import GraftedReLU
from abcrown_graft.network.operators.input import Input
from abcrown_graft.network.operators.leaky_relu import LeakyReLU
from abcrown_graft.network.operators.linear import Linear
from abcrown_graft.network.operators.operator import Operator
from abcrown_graft.network.operators.pad import Pad
from abcrown_graft.network.operators.relu import ReLU
from abcrown_graft.network.operators.reshape import Reshape
from abcrown_graft.network.operators.scale import Scale
from abcrown_graft.network.operators.select import Select

__all__ = [
    "Activation",
    "Add",
    "AffineOperator",
    "AvgPool2d",
    "Concat",
    "Conv2d",
    "GraftedReLU",
    "Hinge",
    "Input",
    "LeakyReLU",
    "Linear",
    "NonNegative",
    "Operator",
    "Pad",
    "ReLU",
    "Reshape",
    "Scale",
    "Select",
    "WithoutWindows",
]
