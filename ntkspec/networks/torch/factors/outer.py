"""Layers whose gradient is a sum of outer products: linear ones, and products with a matrix of parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkspec.networks.torch.factors.views import View


@dataclass(frozen=True, eq=False)
class Outer:
    """Gradients sum_t g_t a_tᵀ in a matrix W of shape (d_out, d_in).

    a : inputs (n, T, d_in). g : output gradients (n, R, T, d_out) of R functions. view : of W in its parameter.
    """

    a: Tensor
    g: Tensor
    view: View

    @property
    def tensors(self) -> list[Tensor]:
        """What it keeps."""
        return [self.a, self.g]

    @property
    def rows(self) -> int:
        """d_out."""
        return self.g.shape[3]

    @property
    def flops(self) -> float:
        """Of a pull or a push of one vector, for a point."""
        return 2.0 * self.a.shape[1] * self.a.shape[2] * self.g.shape[3]

    def __getitem__(self, which: slice | Tensor) -> "Outer":
        return Outer(self.a[which], self.g[which], self.view)

    def absolute(self) -> "Outer":
        """Of absolute values."""
        return Outer(self.a.abs(), self.g.abs(), self.view)

    def of(self, functions: slice) -> "Outer":
        """Of some of the functions."""
        return Outer(self.a, self.g[:, functions], self.view)

    def pull(self, U: Tensor) -> Tensor:
        """sum_ir U[i, r] times the gradients, (k, d_out, d_in) for U (n, R, k): one matrix product."""
        n, R, T, d_out = self.g.shape
        if R == 1:
            h = self.g[:, 0, :, None] * U[:, 0, None, :, None]
        else:
            h = (U.mT @ self.g.reshape(n, R, T * d_out)).reshape(n, -1, T, d_out).transpose(1, 2)
        return (h.reshape(n * T, -1).T @ self.a.reshape(n * T, -1)).reshape(-1, d_out, self.a.shape[2])

    def push(self, W: Tensor) -> Tensor:
        """The gradients' inner products with W (k, d_out, d_in): (n, R, k)."""
        n, R, T, d_out = self.g.shape
        k = len(W)
        z = (self.a.reshape(n * T, -1) @ W.reshape(k * d_out, -1).T).reshape(n, T, k, d_out)
        return inner(self.g.reshape(n, R, T * d_out), z.transpose(1, 2).reshape(n, k, T * d_out))

    @classmethod
    def together(cls, uses: list["Outer"]) -> "Outer":
        """Several uses of one matrix, their positions one after the other."""
        return cls(torch.cat([one.a for one in uses], 1), torch.cat([one.g for one in uses], 2), uses[0].view)

    def gradients(self, rows: slice) -> Tensor:
        """(n, R, rows, d_in), for some rows of W."""
        n, R, T, _ = self.g.shape
        g = self.g[..., rows]
        flat = g.transpose(2, 3).reshape(n, -1, T) @ self.a
        return flat.reshape(n, R, g.shape[3], -1)

    def fill(self, out: Tensor, rows: slice) -> None:
        """Make ``out`` (n, R, numbers) the gradients of some rows of W."""
        for r in range(self.g.shape[1]):
            g = self.g[:, r, :, rows]
            torch.bmm(g.mT, self.a, out=out[:, r].unflatten(1, (g.shape[2], -1)))


def inner(g: Tensor, z: Tensor) -> Tensor:
    """<g[i, r], z[i, k]>, (n, R, k)."""
    if g.shape[1] == z.shape[1] == 1:
        return torch.linalg.vecdot(g, z)[..., None]
    return g @ z.mT
