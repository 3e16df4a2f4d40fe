"""Rows of a matrix that are looked up by number."""

from dataclasses import dataclass

from torch import Tensor

from ntkspec.networks.torch.factors.outer import inner
from ntkspec.networks.torch.factors.views import View


@dataclass(frozen=True, eq=False)
class Embedding:
    """Gradients sum_t e_(index t) g_tᵀ in a matrix W of shape (V, d).

    index : row numbers (n, T). g : output gradients (n, R, T, d), zero where a row is not trained. view : of W in its
    parameter.
    """

    index: Tensor
    g: Tensor
    view: View

    @property
    def tensors(self) -> list[Tensor]:
        """What it keeps."""
        return [self.index, self.g]

    @property
    def rows(self) -> int:
        """V."""
        return self.view.shape[0]

    @property
    def flops(self) -> float:
        """Of a pull or a push of one vector, for a point."""
        return 2.0 * self.index.shape[1] * self.g.shape[3]

    def __getitem__(self, which: slice | Tensor) -> "Embedding":
        return Embedding(self.index[which], self.g[which], self.view)

    def absolute(self) -> "Embedding":
        """Of absolute values."""
        return Embedding(self.index, self.g.abs(), self.view)

    def of(self, functions: slice) -> "Embedding":
        """Of some of the functions."""
        return Embedding(self.index, self.g[:, functions], self.view)

    def pull(self, U: Tensor) -> Tensor:
        """sum_ir U[i, r] times the gradients, (k, V, d) for U (n, R, k)."""
        n, R, T, d = self.g.shape
        h = (U.mT @ self.g.reshape(n, R, T * d)).reshape(n, -1, T, d).movedim(1, 0)
        out = h.new_zeros(len(h), *self.view.shape)
        return out.index_add_(1, self.index.flatten(), h.reshape(len(h), n * T, d))

    def push(self, W: Tensor) -> Tensor:
        """The gradients' inner products with W (k, V, d): (n, R, k)."""
        n, R, T, d = self.g.shape
        z = W[:, self.index].movedim(0, 1).reshape(n, len(W), T * d)
        return inner(self.g.reshape(n, R, T * d), z)

    def gradients(self, rows: slice) -> Tensor:
        """(n, R, rows, d), for some rows of W."""
        n, R, _, d = self.g.shape
        count = rows.stop - rows.start
        inside = (self.index >= rows.start) & (self.index < rows.stop)
        i, t = inside.nonzero(as_tuple=True)
        out = self.g.new_zeros(n * count, R, d)
        out.index_add_(0, i * count + self.index[i, t] - rows.start, self.g[i, :, t])
        return out.reshape(n, count, R, d).transpose(1, 2)

    def fill(self, out: Tensor, rows: slice) -> None:
        """Make ``out`` (n, R, numbers) the gradients of some rows of W."""
        out.copy_(self.gradients(rows).flatten(2))
