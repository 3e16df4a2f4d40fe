"""Kernel matrices that are known through two primitives: a tile added to an array, and a product with vectors."""

from ntkspec.operators.adapters import Products, as_symmetric, to_scipy, with_entries, wrap
from ntkspec.operators.base import KernelOperator
from ntkspec.operators.bits import Bits
from ntkspec.operators.combination import LinearCombination
from ntkspec.operators.dense import Dense
from ntkspec.operators.diagonal import Diagonal, identity
from ntkspec.operators.entrywise import EntrywiseOperator
from ntkspec.operators.forming import form
from ntkspec.operators.function import GramFunction, PairFunction
from ntkspec.operators.gradients import GradientsAt
from ntkspec.operators.gram import Gram
from ntkspec.operators.hadamard import HadamardGram
from ntkspec.operators.jacobian import JacobianGram
from ntkspec.operators.planning import Plan, plan
from ntkspec.operators.rounding import Rounding
from ntkspec.operators.tiles import Tile
from ntkspec.operators.triangle import Triangle
from ntkspec.operators.work import Cost, Work

__all__ = [
    "Bits",
    "Cost",
    "Dense",
    "Diagonal",
    "EntrywiseOperator",
    "GradientsAt",
    "Gram",
    "GramFunction",
    "HadamardGram",
    "JacobianGram",
    "KernelOperator",
    "LinearCombination",
    "PairFunction",
    "Plan",
    "Products",
    "Rounding",
    "Tile",
    "Triangle",
    "Work",
    "as_symmetric",
    "form",
    "identity",
    "plan",
    "to_scipy",
    "with_entries",
    "wrap",
]
