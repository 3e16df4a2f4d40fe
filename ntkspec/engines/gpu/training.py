"""Training of a two-layer network on the GPU: two kernels a step, and nothing that the host waits for on the way."""

import math

import cupy as xp
import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.engines.gpu.compiling import THREADS, kernel, launch, multiprocessors
from ntkspec.objects.lazy import cached_property

# As in training.cu: threads that share neurons, and weights that a block of threads updates.
_LANES, _UPDATED = 8, 32
# What a thread can hold in registers: sets of neurons, and bytes of weights, with as many of gradients. Where it holds
# few, a multiprocessor has room for two blocks.
_SETS, _BYTES, _FEW = 4, 320, 96
# Steps of a CUDA graph, an even number: launched one by one they would take the host longer than the GPU.
_TOGETHER = 16
_NEVER = 2**63 - 1


def fused_steps(
    phi: tuple[str, tuple[float, ...]] | None, X: Array, targets: Array, *, rates: tuple[float, float], width: int
) -> "FusedSteps | None":
    """Full-batch steps of a two-layer network, each one pass over the points; None for what they are not written for.

    phi : (name of an engine's function, its parameters), or None. X (n, d) and targets (n,) have one dtype.
    rates : of both layers. They are written for networks whose weights fit into the registers of a block of threads.
    """
    sets, columns = _rounded(width, X.shape[1])
    fits = sets <= _SETS and sets * columns * X.itemsize <= _BYTES
    return FusedSteps(phi, X, targets, rates, width) if phi and any(rates) and fits else None


def _rounded(width: int, d: int) -> tuple[int, int]:
    """Sets of neurons, one for each thread, and columns that the lanes share out evenly."""
    return -(-width // THREADS), -(-d // _LANES) * _LANES


class FusedSteps:
    """Gradient descent on (1/2n) sum (f(x_i) - targets_i)²; ``step`` is the one that the weights have come to.

    Weights of even and of odd steps lie in two lines, W row by row and then v: those of the step before stay there.
    """

    def __init__(
        self,
        phi: tuple[str, tuple[float, ...]],
        X: Array,
        targets: Array,
        rates: tuple[float, float],
        width: int,
    ):
        real = X.dtype
        (n, d), (sets, columns) = X.shape, _rounded(width, X.shape[1])
        rows = 64 // real.itemsize // sets
        self._X, self.targets = xp.zeros((n, columns), real), targets.copy()
        self._X[:, :d] = X
        self._X = self._X.reshape(-1)
        self._kernels = _kernels(phi[0], real, rates, {"D": columns, "SETS": sets, "ROWS": rows})
        resident = multiprocessors() * (2 if sets * columns * real.itemsize <= _FEW else 1)
        self._sizes, self._blocks = (width, d, n), min(-(-n // rows), resident)
        self._lines = [xp.empty(width * (d + 1), real) for _ in range(2)]
        self._out, self._sums = xp.empty(n, real), xp.empty(self._blocks * width * (d + 1), real)
        self._parameters = np.float64(phi[1][0] if phi[1] else 0), real.type(d**0.5), real.type(width**0.5)
        self._moving = 0 if rates[0] else width * d, width * (d + 1) if rates[1] else width * d
        with np.errstate(over="ignore"):  # such a run diverges, and says so
            self._rates = real.type(rates[0] / math.sqrt(width * d)), real.type(rates[1] / math.sqrt(width))
        self._marks, self.step = xp.zeros(2, np.int64), 0

    def load(self, step: int, W: Array, v: Array) -> None:
        """Go on from the weights (W, v) of a step."""
        for line in self._lines:
            self._part(line, 0)[...], self._part(line, 1)[...] = W, v
        self._marks[...] = xp.asarray([step, _NEVER])
        self.step = step

    def weights(self, step: int) -> list[Array]:
        """(W, v) of this step or of the one before, which later steps write over."""
        return [self._part(self._lines[step % 2], layer) for layer in (0, 1)]

    def _part(self, line, layer: int):
        m, d, _ = self._sizes
        return line[m * d :] if layer else line[: m * d].reshape(m, d)

    def outputs(self) -> Array:
        """f(X), (n,), which the next pass writes over; gradients are found on the way."""
        one, line = self._kernels[0], self._lines[self.step % 2]
        data = self._X, self.targets, line
        launch(one, self._blocks, self._out, self._sums, self._marks, *data, *self._parameters, *self._sizes)
        return self._out

    def update(self) -> None:
        """One step further, with the gradients of the last ``outputs``."""
        (first, last), now = self._moving, self.step % 2
        lines = self._lines[1 - now], self._lines[now], self._sums, self._marks
        numbers = *self._rates, self._blocks, first, last, *self._sizes
        launch(self._kernels[1], -(-(last - first) // _UPDATED), *lines, *numbers)
        self.step += 1

    def advance(self, count: int) -> None:
        """``count`` steps further."""
        last = self.step + count
        while self.step < last:
            if self.step % 2 == 0 and last - self.step >= _TOGETHER:
                self._together.launch()
                self.step += _TOGETHER
            else:
                self._one()

    def wrong(self) -> int | None:
        """The first step with an output that is not finite, since the last ``load``. Waits for the GPU."""
        first = int(self._marks[1])
        return None if first == _NEVER else first

    def _one(self) -> None:
        self.outputs()
        self.update()

    @cached_property
    def _together(self):
        """The CUDA graph of steps from an even one on."""
        stream, step = xp.cuda.Stream(non_blocking=True), self.step
        with stream:
            stream.begin_capture()
            for _ in range(_TOGETHER):
                self._one()
            graph = stream.end_capture()
        self.step = step
        return graph


def _kernels(name: str, real: np.dtype, rates: tuple[float, float], sizes: dict[str, int]) -> list:
    """The pass and the update for an engine's function, and for the layers that move."""
    how = {"PHI": f"phi_{name}", "FIRST": int(rates[0] > 0), "SECOND": int(rates[1] > 0)} | sizes
    return [kernel("training", function, real.char, **how) for function in ("descent_pass", "descent_update")]
