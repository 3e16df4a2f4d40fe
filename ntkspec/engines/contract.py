"""What an engine offers: a module of :mod:`ntkspec.engines` on CPUs, and its twin on GPUs.

A few names stand on the engine itself; the others are in groups, ``engine.bits.pack``, one module each. Both twins say
the same about every argument: shapes, dtypes and what is written to. Arrays are the engine's own, of ``engine.xp``.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.rates import Rates
from ntkspec.engines.terms import Levels, Term

__all__ = [
    "Bits",
    "Engine",
    "Functions",
    "FusedTraining",
    "Linalg",
    "Lookups",
    "Pairs",
    "Patches",
    "Symmetric",
    "Terms",
    "Tiles",
]


class Bits(Protocol):
    """Matrices whose entries take two values, one bit each: 64 to a word."""

    def empty(self, n: int, columns: int) -> Array:
        """Words for an (n, columns) matrix of bits, all zero: (n, columns / 64 rounded up), uint64."""

    def pack(self, words: Array, matrix: Array, high: float) -> None:
        """Set bit j of row i of ``words`` where ``matrix[i, j] == high``."""

    def unpack(self, words: Array, columns: int, values: tuple[float, float], dtype: DTypeLike) -> Array:
        """The first ``columns`` bits of each row as numbers (low, high)."""

    def count_ones(self, words: Array) -> Array:
        """The number of ones of each row, int64."""

    def count_common(self, A: Array, B: Array, dtype: DTypeLike) -> Array:
        """How many ones each row of A (n, k) shares with each row of B (n', k): (n, n'), exact."""

    def gram(self, A: Array, B: Array, levels: Levels | None, dtype: DTypeLike) -> Any:
        """The Gram matrix (n, n') of rows of two values, or what ``terms.add`` makes numbers of."""


class Functions(Protocol):
    """Activations: each writes phi(z) and phi'(z) to ``value`` and ``slope``, C-contiguous arrays like z."""

    def piecewise_linear(self, z: Array, value: Array, slope: Array, below: float) -> None:
        """z for z >= 0, ``below`` z otherwise."""

    def erf(self, z: Array, value: Array, slope: Array) -> None:
        """erf(z)."""

    def tanh(self, z: Array, value: Array, slope: Array) -> None:
        """tanh(z)."""

    def sigmoid(self, z: Array, value: Array, slope: Array) -> None:
        """1/(1 + exp(-z))."""

    def softplus(self, z: Array, value: Array, slope: Array) -> None:
        """log(1 + exp(z))."""

    def silu(self, z: Array, value: Array, slope: Array) -> None:
        """z/(1 + exp(-z))."""

    def gelu(self, z: Array, value: Array, slope: Array) -> None:
        """z P(g < z) for a standard normal g."""

    def elu(self, z: Array, value: Array, slope: Array, alpha: float) -> None:
        """z for z >= 0, alpha (exp(z) - 1) otherwise."""

    def sin(self, z: Array, value: Array, slope: Array) -> None:
        """sin(z)."""

    def cos(self, z: Array, value: Array, slope: Array) -> None:
        """cos(z)."""


class Linalg(Protocol):
    """Dense linear algebra in which the array modules of the engines differ."""

    def eigh(self, matrix: Array) -> tuple[Array, Array]:
        """(values, vectors as columns) of a symmetric matrix, values ascending. Cost: 9 n³ flops."""

    def row_products(self, A: Array, B: Array, dtype: DTypeLike) -> Array:
        """sum_d A[i, ..., d] B[i, d] computed in a dtype: (n,) for A (n, d), and (n, k) for A (n, k, d)."""

    def weighted_rows(self, V: Array, X: Array) -> Array:
        """V[i, k] X[i, d] in the dtype of V, (n, k d)."""


class Lookups(Protocol):
    """Products of a matrix of bits with one of numbers, by sums that are looked up instead of multiplications."""

    def products(self, words: Array, columns: int, values: tuple[float, float]) -> Any:
        """Products of a matrix (n, columns) of two values; None where multiplications are always sooner."""


class Pairs(Protocol):
    """Functions of pairs of inputs, and the Hermite series that they are expanded in."""

    def moments(self, gram: Array, X: Array, own: Array, Y: Array, other: Array, close: float) -> tuple[Array, Array]:
        """(c, gap): <x, x'>/d and ‖x‖²‖x'‖²/d² - c², from gram = X Yᵀ, own = ‖x‖²/d and other = ‖x'‖²/d."""

    def hermite_moments(self, points: Array, weighted: Array, terms: int) -> Array:
        """sum_q weighted[p, q] he_k(points[q]) for k < terms, he_k = He_k / sqrt(k!)."""

    def power_series(self, rho: Array, left: Array, right_t: Array, terms: int) -> Array:
        """sum_k rho^k left[i, k] right_t[k, j] over k < terms, for rho (r, s)."""


class Patches(Protocol):
    """Circular patches of images and signals."""

    def position_products(self, X: Array, XT: Array, positions: int) -> Array:
        """<x_p, x'_p> over the channels of each position p, (positions, r, s), of X (r, d) and XT (d, s)."""

    def circular_sums(self, values: Array, size: int) -> Array:
        """values[a, p] + ... + values[a, p + size - 1], indices modulo P, for values (A, P, B)."""

    def gaps(self, c: Array, X: Array, own: Array, XT: Array, other: Array, places: Array, lost: Array | None) -> Array:
        """a b - c² (P, r, s) of patches with squares a = own (P, r), b = other (P, s) and inner products c."""


class Symmetric(Protocol):
    """Symmetric matrices of which one triangle is read."""

    def room(self, count: int, n: int, dtype: DTypeLike) -> Array:
        """Zeros (count, n or a few more) for vectors or sums, laid out as products are fastest."""

    def triangle_product(self, blocks: Array, first: int, last: int, vectors: Array, out: Array) -> None:
        """Add to ``out`` the products of the tiles first, ..., last - 1 of a lower triangle, and of their mirrors."""

    def product(self, matrix: Array, first: int, last: int, vectors: Array, out: Array) -> None:
        """The same of the rows first, ..., last - 1 of a matrix (n, n)."""

    def squares_and_defect(self, matrix: Array, first: int, last: int) -> tuple[float, float]:
        """(sum of a_ij², sum of (a_ij - a_ji)²) over rows of a lower triangle and their mirrors."""


class Terms(Protocol):
    """Tiles of kernels that are sums of terms (:mod:`ntkspec.engines.terms`)."""

    def add(self, out: Array, terms: Iterable[Term]) -> None:
        """Add terms to ``out``."""

    def write(self, out: Array, terms: Iterable[Term], squares: bool) -> Any:
        """Make ``out`` the sum of the terms; returns the sum of its squared entries where ``squares`` asks for it."""

    def add_scaled(self, out: Array, P: Array, scale: float) -> None:
        """``out += scale * P`` entry by entry."""


class Tiles(Protocol):
    """Passes over a tile."""

    def copy_transposed(self, out: Array, tile: Array) -> None:
        """``out[:] = tile.T``."""

    def largest_entry(self, tile: Array, skip: int) -> float:
        """Largest ``|tile[i, j]|`` with ``i != j + skip``; NaN where any entry is NaN."""

    def sum_of_squares(self, tile: Array) -> Any:
        """Sum of the squared entries, accumulated in float64; on a GPU an array of no dimension."""


class FusedTraining(Protocol):
    """Training by an engine's own steps."""

    def fused_steps(
        self,
        phi: tuple[str, tuple[float, ...]] | None,
        X: Array,
        targets: Array,
        *,
        rates: tuple[float, float],
        width: int,
    ) -> Any:
        """Full-batch steps of a two-layer network, each one pass over the points; None where there are none."""


class Engine(Protocol):
    """Arrays, memory, workers and rates of a device; loops and kernels in groups."""

    name: str
    # The array module, NumPy or CuPy.
    xp: Any
    # Rows and columns of a tile, and of the least one that is worth a task of its own; rows of a tile, and pairs of
    # patches, that are computed together.
    TILE: int
    LEAST_TILE: int
    STRIP: int
    PAIRS: int

    @property
    def bits(self) -> Bits:
        """Matrices of bits."""

    @property
    def functions(self) -> Functions:
        """Activations."""

    @property
    def linalg(self) -> Linalg:
        """Dense linear algebra."""

    @property
    def lookups(self) -> Lookups:
        """Products of bits with numbers."""

    @property
    def pairs(self) -> Pairs:
        """Functions of pairs of inputs."""

    @property
    def patches(self) -> Patches:
        """Circular patches."""

    @property
    def symmetric(self) -> Symmetric:
        """Symmetric matrices."""

    @property
    def terms(self) -> Terms:
        """Sums of terms."""

    @property
    def tiles(self) -> Tiles:
        """Passes over a tile."""

    @property
    def training(self) -> FusedTraining:
        """The engine's own steps of training."""

    def free_memory(self) -> int:
        """Bytes that can be allocated now."""

    def used_memory(self) -> int:
        """Bytes that this process takes now."""

    def most_memory(self) -> int:
        """Bytes that this process has taken at most."""

    def spare_memory(self) -> int:
        """Bytes beside the engine's own memory where tiles can lie."""

    def spare_tiles(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Tiles in that memory, their entries not set."""

    def to_host(self, array: Array) -> Array:
        """A NumPy array with the same entries."""

    def workers(self) -> int:
        """Number of workers that tasks run on."""

    def one_blas_thread(self) -> AbstractContextManager[None]:
        """Hold BLAS to one thread over a loop of many short runs."""

    def run(self, task: Callable[[Any], Any], items: Iterable[Any], *, progress: str = "") -> list[Any]:
        """``[task(item) for item in items]``; ``progress`` names a bar."""

    def fill_tiles(
        self,
        blocks: Array,
        keep: Callable[[int, Any], None],
        fill: Callable[[int, Array], Any],
        numbers: Iterable[int],
        text: str,
    ) -> None:
        """keep(k, fill(k, blocks[k])) for the number k of each tile that is to be filled; ``text`` names the bar."""

    def shares(self, n: int, flops: float = ...) -> list[slice]:
        """Contiguous slices that cover ``range(n)``, at most one for each worker; ``flops`` of one row."""

    def blocks(self, share: slice, width: int, numbers: int = ..., least: int = ...) -> list[slice]:
        """Row blocks of a share, of about ``numbers`` numbers where a row has ``width``, and ``least`` rows."""

    def last_cache(self) -> int:
        """Bytes of a matrix that is read from a cache when it is read once more."""

    def rates(self, dtype: DTypeLike, *, memory: bool = ...) -> Rates:
        """What the device does in a second for a dtype; without ``memory``, its rate of bytes is that of the cache."""
