"""Real full-batch gradient descent, equation (4): what is recorded, and when it stops."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from ntkspec import checks, progress
from ntkspec.dynamics import Trajectory
from ntkspec.networks import TwoLayer
from ntkspec.training.checkpoints import Checkpoint
from ntkspec.training.descent import Descent
from ntkspec.training.records import Records


def train_gd(
    net: TwoLayer,
    X,
    y,
    *,
    eta1: float,
    eta2: float,
    steps,
    X_test=None,
    subtract_start: bool = False,
    watch: Sequence[Callable] = (),
    checkpoint=None,
) -> Trajectory:
    r"""Train both layers on :math:`L = \frac{1}{2n} \sum (f(x_i) - y_i)^2` with learning rates eta1 (W) and eta2 (v).

    .. math:: \nabla_{w_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{v_r \phi'(u_{ir}) x_i}{\sqrt{md}}, \quad
              \partial_{v_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{\phi(u_{ir})}{\sqrt m}

    eta1 = 0 trains the second layer only, eta2 = 0 the first. X : (n, d), y : (n,), X_test : (n', d) or None.
    steps : the steps to record, in any order; training runs to the largest. ``net`` is not changed: the trained one
    is ``.network``. The dtype is that of X and the network together. Each step is one pass over blocks of rows that
    stay in cache.
    subtract_start : train f(x) - f_0(x) instead, with f_0 the network at the start, so that outputs start at 0 without
    the pairs of equation (3); recorded outputs are less f_0, ``.network`` is f itself.
    watch : functions of (net, the network now, X) that return {name: number}, called at the recorded steps, such as
    ``ntkspec.weight_movement`` and ``ntkspec.kernel_drift``; the numbers come back in ``.watched`` as {name: (steps,)}.
    checkpoint : a file that keeps weights and records, written every minute, on Ctrl-C and at the end: the same call
    goes on after an interruption and ends with the same bits on the same number of cores.

    Where the outputs are no longer finite, training stops with a RuntimeWarning that names the step, the records from
    there on are NaN, and ``.network`` is the last one with finite outputs.
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
    X, y = X.astype(dtype, copy=False), y.astype(dtype, copy=False)
    offsets = [net(points) if subtract_start else None for points in (X, X_test) if points is not None]
    descent = Descent(net, (X, y), rates, offsets[0])
    records = Records(net, (X, X_test, offsets[-1]), np.unique(steps), watch)
    with Checkpoint(checkpoint, descent, records) as saved:
        _run(descent, records, saved)
    return _in_order(records, steps, descent.network())


def _run(descent: Descent, records: Records, saved: Checkpoint) -> None:
    """From the state of the descent to the last recorded step."""
    first, last = descent.state[0], records.last
    with progress.bar(total=last, text="gradient descent (steps)", initial=first) as bar:
        for step in range(first, last + 1):
            outputs = descent.outputs(gradients=step < last)
            if outputs is None:
                warnings.warn(
                    f"training diverged: outputs are no longer finite at step {step}; take a smaller learning rate",
                    RuntimeWarning,
                    stacklevel=3,
                )
                return
            if records.due(step):
                records.write(step, outputs, descent.network())
            if step < last:
                descent.step()
                bar.update()
            saved.now_and_then()


def _in_order(records: Records, steps, network: TwoLayer) -> Trajectory:
    """The records in the order that was asked for."""
    place = np.searchsorted(records.steps, steps)
    test = None if records.test is None else records.test[place]
    watched = {name: values[place] for name, values in records.watched.items()}
    nothing = np.zeros(len(steps))
    return Trajectory(steps, records.train[place], test, "gradient descent", nothing, network, watched=watched)
