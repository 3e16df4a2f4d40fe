"""Parameters with few entries: the gradient of each point, as it is."""

from dataclasses import dataclass

from torch import Tensor

from ntkspec.networks.torch.factors.views import View


@dataclass(frozen=True, eq=False)
class PerPoint:
    """Gradients (n, R, p) in a tensor of p entries. view : of that tensor in its parameter."""

    G: Tensor
    view: View

    @property
    def tensors(self) -> list[Tensor]:
        """What it keeps."""
        return [self.G]

    @property
    def rows(self) -> int:
        """p."""
        return self.G.shape[2]

    @property
    def flops(self) -> float:
        """Of a pull or a push of one vector, for a point."""
        return 2.0 * self.G.shape[2]

    def __getitem__(self, which: slice | Tensor) -> "PerPoint":
        return PerPoint(self.G[which], self.view)

    def absolute(self) -> "PerPoint":
        """Of absolute values."""
        return PerPoint(self.G.abs(), self.view)

    def of(self, functions: slice) -> "PerPoint":
        """Of some of the functions."""
        return PerPoint(self.G[:, functions], self.view)

    def pull(self, U: Tensor) -> Tensor:
        """sum_ir U[i, r] times the gradients, (k, *shape) for U (n, R, k)."""
        return (U.flatten(0, 1).T @ self.G.flatten(0, 1)).reshape(-1, *self.view.shape)

    def push(self, W: Tensor) -> Tensor:
        """The gradients' inner products with W (k, *shape): (n, R, k)."""
        n, R, p = self.G.shape
        return (self.G.reshape(n * R, p) @ W.reshape(-1, p).T).reshape(n, R, -1)

    def gradients(self, rows: slice) -> Tensor:
        """(n, R, rows, 1)."""
        return self.G[..., rows, None]

    def fill(self, out: Tensor, rows: slice) -> None:
        """Make ``out`` (n, R, numbers) the gradients of some entries."""
        out.copy_(self.G[..., rows])


def summed(e: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Gradients in a tensor that was broadcast: sums of e (n, m, *axes) over m and the axes that the tensor repeats."""
    axes = e.shape[2:]
    own = (1,) * (len(axes) - len(shape)) + tuple(shape)
    over = [1] + [2 + k for k, (size, full) in enumerate(zip(own, axes, strict=True)) if size != full]
    total = e if all(e.shape[axis] == 1 for axis in over) else e.sum(dim=over)  # no copy of output gradients
    return total.reshape(len(e), -1)
