"""Networks and kernels of several outputs, with all gradients written down: what tests compare with."""

import copy

import numpy as np

from ntkspec import checks
from ntkspec.engines import OnEngine, engine_of
from ntkspec.operators import JacobianGram, Rounding, Work


class WrittenJacobian(OnEngine):
    """The gradients J (n, R, P) of R functions at n points as an array: one side of a JacobianGram."""

    def __init__(self, J):
        self.J, self.dtype, self.engine = J, J.dtype, engine_of(J)
        self.points, self.functions, self.size = J.shape
        self.pull_work = self.push_work = Work(flops=2.0 * self.points * self.size)

    def entry_work(self, other):
        return Work(flops=2.0 * self.size)

    def pull(self, U, functions):
        return self.engine.xp.einsum("irk,irp->kp", U, self.J[:, functions])

    def push(self, tangents, functions):
        return self.engine.xp.einsum("kp,irp->irk", tangents, self.J[:, functions])

    def gram(self, other, rows, cols, *, dtype, stacked):
        length = self.size if stacked else self.functions * self.size
        left = self.J[rows].astype(dtype).reshape(-1, length)
        same = other is self and isinstance(rows, slice) and rows == cols  # whose product is symmetric to the last bit
        return left @ (left if same else other.J[cols].astype(dtype).reshape(-1, length)).T

    def squares(self, dtype):
        return (self.J.astype(dtype) ** 2).sum(axis=2)

    def rounding(self, other, kernel):
        norms = [float((side.J**2).sum()) ** 0.5 for side in (self, other)]
        return Rounding.of_path(self.size + sum(kernel.shape), norms[0] * norms[1])


def random_jacobian(n, K, P=None, seed=0, dtype=np.float64):
    """Gaussian gradients of K outputs at n points, with some of each output's gradient in common."""
    rng, P = np.random.default_rng(seed), P or n * K
    return ((rng.standard_normal((n, K, P)) + rng.standard_normal((n, 1, P))) / P**0.5).astype(dtype)


def full_kernel(J, J2=None):
    """The (n K, n' K) kernel of these gradients."""
    sides = [WrittenJacobian(J)] if J2 is None else [WrittenJacobian(J), WrittenJacobian(J2)]
    return JacobianGram(*sides, stacked=True)


class Perceptron:
    """f(x) = B tanh(A x), (n, K), or (n,) where B has one row and ``flat`` is set: a user's own network."""

    def __init__(self, A, B, flat=False):
        self.A, self.B, self.flat = A, B, flat
        self.dtype, self.n_outputs = A.dtype, None if flat else len(B)

    @classmethod
    def random(cls, d, width, K, seed=0, flat=False):
        rng = np.random.default_rng(seed)
        return cls(rng.standard_normal((width, d)), rng.standard_normal((K, width)), flat)

    @property
    def weights(self):
        return [self.A, self.B]

    @property
    def flops(self):
        return 2.0 * (self.A.size + self.B.size)

    def with_weights(self, weights):
        other = copy.copy(self)
        other.A, other.B = weights
        return other

    def as_points(self, points, name="X"):
        return checks.as_inputs(points, self.A.shape[1], name)

    def __call__(self, points):
        outputs = np.tanh(points @ self.A.T) @ self.B.T
        return outputs[:, 0] if self.flat else outputs

    def jacobian(self, X):
        """(n, K, P), the gradients in A, then in B."""
        hidden, n, K = np.tanh(X @ self.A.T), len(X), len(self.B)
        of_A = np.einsum("kr,ir,ij->ikrj", self.B, 1 - hidden**2, X).reshape(n, K, -1)
        return np.concatenate([of_A, np.einsum("kl,ir->iklr", np.eye(K), hidden).reshape(n, K, -1)], axis=2)

    def value_and_vjp(self, points, cotangent):
        outputs, everything = self(points), slice(0, len(points))
        given = cotangent(everything, outputs).reshape(len(points), -1)
        flat = np.einsum("ik,ikp->p", given, self.jacobian(points))
        return outputs, [flat[: self.A.size].reshape(self.A.shape), flat[self.A.size :].reshape(self.B.shape)]

    def jvp(self, points, tangents):
        moved = self.jacobian(points) @ np.concatenate([tangent.ravel() for tangent in tangents])
        return moved[:, 0] if self.flat else moved

    def kernel(self, points, points2=None, *, layer, outputs):
        chosen = {"all": slice(None), "A": slice(0, self.A.size), "B": slice(self.A.size, None)}[layer]
        sides = [self.jacobian(side)[:, :, chosen] for side in (points, points2) if side is not None]
        if outputs.weights is not None:
            sides = [np.einsum("rk,ikp->irp", outputs.weights, side) for side in sides]
        return JacobianGram(*map(WrittenJacobian, sides), stacked=outputs.stacked, scale=outputs.scale)
