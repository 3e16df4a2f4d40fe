"""Real full-batch gradient descent, equation (4)."""

import warnings

import numpy as np

from ntkspec import checks, progress
from ntkspec.dynamics import Trajectory
from ntkspec.engines import engine_of
from ntkspec.networks import TwoLayer
from ntkspec.networks.two_layer import scaled_weights


def train_gd(net: TwoLayer, X, y, *, eta1: float, eta2: float, steps, X_test=None) -> Trajectory:
    r"""Train both layers on :math:`L = \frac{1}{2n} \sum (f(x_i) - y_i)^2` with learning rates eta1 (W) and eta2 (v).

    .. math:: \nabla_{w_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{v_r \phi'(u_{ir}) x_i}{\sqrt{md}}, \quad
              \partial_{v_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{\phi(u_{ir})}{\sqrt m}

    eta1 = 0 trains the second layer only, eta2 = 0 the first. X : (n, d), y : (n,), X_test : (n', d) or None.
    steps : the steps to record, in any order; training runs to the largest. ``net`` is not changed: the trained one
    is ``.network``. The dtype is that of X and the network together. Each step is one pass over blocks of rows that
    stay in cache. Where the outputs are no longer finite, training stops with a RuntimeWarning that names the step,
    the records from there on are NaN, and ``.network`` is the last one with finite outputs.
    Cost: 4 n m d flops a step (2 where only the second layer is trained), no (n, m) arrays.
    """
    if not isinstance(net, TwoLayer):
        raise TypeError(f"net is a {type(net).__name__}, but an ntkspec.TwoLayer is needed")
    X = checks.as_matrix(X, "X", columns=net.dim)
    y = checks.as_vector(y, "y", X.shape[0])
    rates = checks.learning_rate(eta1, "eta1"), checks.learning_rate(eta2, "eta2")
    steps = checks.as_steps(steps)
    if X_test is not None:
        X_test = checks.as_matrix(X_test, "X_test", columns=net.dim)
    dtype = np.result_type(X.dtype, net.dtype)
    descent = _Descent(net, X.astype(dtype, copy=False), y.astype(dtype, copy=False), rates)
    order, place = np.unique(steps, return_inverse=True)
    train, test = _record(descent, order, X_test)
    test = None if test is None else test[place]
    return Trajectory(steps, train[place], test, "gradient descent", np.zeros(len(steps)), descent.network())


def _record(descent, order, X_test):
    """Outputs at the ascending steps ``order``; NaN from the step on at which they are no longer finite."""
    xp = descent.engine.xp
    train = xp.full((len(order), len(descent.y)), xp.nan, dtype=descent.y.dtype)
    test = None if X_test is None else xp.full((len(order), len(X_test)), xp.nan, dtype=descent.y.dtype)
    due = dict(zip(order.tolist(), range(len(order)), strict=True))
    last = int(order[-1])
    with progress.bar(total=last, text="gradient descent (steps)") as bar:
        for step in range(last + 1):
            outputs = descent.outputs_and_step(update=step < last)
            if outputs is None:
                warnings.warn(
                    f"training diverged: outputs are no longer finite at step {step}; take a smaller learning rate",
                    RuntimeWarning,
                    stacklevel=3,
                )
                break
            if step in due:
                train[due[step]] = outputs
                if test is not None:
                    test[due[step]] = descent.network()(X_test)
            bar.update(step < last)
    return train, test


# A diverging run is reported once, by its outputs.
_DIVERGING = np.errstate(over="ignore", invalid="ignore")


class _Descent:
    """The weights during training."""

    def __init__(self, net, X, y, rates):
        self.engine, self.activation = engine_of(X, net.W), net.activation
        self.X, self.y, (self.eta1, self.eta2) = X, y, rates
        self.W, self.v = net.W.astype(X.dtype), net.v.astype(X.dtype)
        self._seen = self.W, self.v

    def network(self) -> TwoLayer:
        """The network whose training outputs were returned last."""
        return TwoLayer(*self._seen, self.activation)

    def outputs_and_step(self, *, update: bool):
        """Outputs on the training points now, and one step after that; None where an output is not finite."""
        out = self.engine.xp.empty_like(self.y)
        weights = scaled_weights(self.W, self.v, self.y.dtype)
        shares = self.engine.shares(len(self.y))
        gradients = self.engine.run(lambda share: self._pass(share, out, weights), shares)
        if not bool(self.engine.xp.isfinite(out).all()):
            return None
        self._seen = self.W, self.v
        if update:
            self._apply([sum(parts) for parts in zip(*gradients, strict=True)])
        return out

    @_DIVERGING
    def _pass(self, share, out, weights):
        """Outputs of a share of the rows, and its part of Σ r_i phi'(u_i) x_iᵀ and Σ r_i phi(u_i), r = f - y."""
        scaled, readout = weights
        gradient_W, gradient_v = np.zeros_like(self.W), np.zeros_like(self.v)
        for rows in self.engine.blocks(share, 2 * len(readout)):
            x = self.X[rows]
            value, slope = self.activation.value_and_derivative(x @ scaled.T)
            out[rows] = value @ readout
            residual = out[rows] - self.y[rows]
            if self.eta1:
                gradient_W += slope.T @ (x * residual[:, None])
            if self.eta2:
                gradient_v += residual @ value
        return gradient_W, gradient_v

    @_DIVERGING
    def _apply(self, gradients):
        gradient_W, gradient_v = gradients
        (m, d), n, dtype = self.W.shape, len(self.y), self.y.dtype.type
        W_step = dtype(self.eta1 / (n * (m * d) ** 0.5)) * self.v[:, None] * gradient_W
        v_step = dtype(self.eta2 / (n * m**0.5)) * gradient_v
        self.W, self.v = self.W - W_step, self.v - v_step
