"""Real gradient descent, equation (4): what is recorded, and when it stops."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from ntkspec import checks, progress
from ntkspec.dynamics import Trajectory
from ntkspec.engines import engine_of
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.training.batches import Batches
from ntkspec.training.checkpoints import Checkpoint
from ntkspec.training.descent import Descent, Fitting
from ntkspec.training.descent_deep import DeepDescent
from ntkspec.training.descent_fused import FusedDescent
from ntkspec.training.records import Records


def train_gd(
    net: TwoLayer | DeepNetwork,
    X,
    y,
    *,
    steps,
    eta1: float | None = None,
    eta2: float | None = None,
    eta: float | None = None,
    X_test=None,
    subtract_start: bool = False,
    batch: int | None = None,
    seed: int = 0,
    watch: Sequence[Callable] = (),
    checkpoint=None,
) -> Trajectory:
    r"""Train a network on :math:`L = \frac{1}{2n} \sum (f(x_i) - y_i)^2`; two layers by equation (4).

    .. math:: \nabla_{w_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{v_r \phi'(u_{ir}) x_i}{\sqrt{md}}, \quad
              \partial_{v_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{\phi(u_{ir})}{\sqrt m}

    eta1 = 0 trains the second layer only, eta2 = 0 the first; ``eta`` is the rate of all layers, and the one that deep
    networks take. X : (n, d), y : (n,), X_test : (n', d) or None. steps : the steps to record, in any order; training
    runs to the largest. ``net`` is not changed: the trained one is ``.network``. The dtype is that of X and the network
    together. Each step is one pass over blocks of rows that stay in cache; on a GPU, where the weights of two layers
    fit into registers, one by kernels that the host does not wait for.
    subtract_start : train f(x) - f_0(x) instead, with f_0 the network at the start, so that outputs start at 0 without
    the pairs of equation (3); recorded outputs are less f_0, ``.network`` is f itself.
    batch : points of a step; None is all of them. Each epoch goes through the points in a new order, from the seed.
    watch : functions of (net, the network now, X) that return {name: number}, called at the recorded steps, such as
    ``ntkspec.weight_movement`` and ``ntkspec.kernel_drift``; the numbers come back in ``.watched`` as {name: (steps,)}.
    checkpoint : a file that keeps weights and records, written every minute, on Ctrl-C and at the end: the same call
    goes on after an interruption and ends with the same bits on the same number of cores. A later call may ask for
    further steps. Signals are left alone: SIGTERM costs the last minute, but on the command line, where it is Ctrl-C.

    Where the outputs are no longer finite, training stops with a RuntimeWarning that names the step, the records from
    there on are NaN, and ``.network`` is the last one with finite outputs.
    Cost: 4 n m d flops a step for two layers (2 where only the second is trained), no (n, m) arrays; three passes
    forward for deep networks.
    """
    if not isinstance(net, TwoLayer | DeepNetwork):
        raise TypeError(f"net is a {type(net).__name__}, but an ntkspec network is needed, such as ntkspec.TwoLayer")
    X = checks.as_matrix(X, "X", columns=net.dim)
    y = checks.as_vector(y, "y", X.shape[0])
    rates, steps = _rates(net, eta1, eta2, eta), checks.as_steps(steps)
    if X_test is not None:
        X_test = checks.as_matrix(X_test, "X_test", columns=net.dim)
    engine_of(X, y, *([] if X_test is None else [X_test]))
    checks.duration(int(steps.max()), len(X) if batch is None else 1, f"training for {steps.max()} steps", "take fewer")
    watch = _checked_watch(watch)
    batches = None if batch is None else Batches(len(X), checks.whole_number(batch, "batch", 1), seed)
    dtype = np.result_type(X.dtype, net.dtype)
    X, y = X.astype(dtype, copy=False), y.astype(dtype, copy=False)
    with checks.memory_for("training", engine_of(X), "take fewer points, fewer recorded steps or float32"):
        offsets = [net(points) if subtract_start else None for points in (X, X_test) if points is not None]
        setting = (X, y), rates, offsets[0]
        descent = _descent(net, setting, on_all=batches is None)
        records = Records(net, (X, X_test, offsets[-1]), np.unique(steps), watch)
        with Checkpoint(checkpoint, descent, records, (batch, seed)) as saved:
            _run(descent, records, batches, saved)
        return _in_order(records, steps, descent.network())


def _checked_watch(watch) -> Sequence[Callable]:
    watch = [watch] if callable(watch) else list(watch)
    for function in watch:
        if not callable(function):
            raise TypeError(f"watch holds a {type(function).__name__}, but functions of (net, now, X) are needed")
    return watch


def _rates(net, eta1, eta2, eta) -> tuple[float, float]:
    """The rates of the first and of all other layers."""
    if eta is not None:
        if (eta1, eta2) != (None, None):
            raise ValueError("eta is the rate of all layers; pass it alone, or eta1 and eta2 without it")
        eta1 = eta2 = checks.learning_rate(eta, "eta")
    if eta1 is None or eta2 is None:
        raise ValueError("a learning rate is missing: pass eta1 (first layer) and eta2 (second), or eta for all layers")
    if isinstance(net, DeepNetwork) and eta1 != eta2:
        raise ValueError(f"eta1={eta1}, eta2={eta2}, but a deep network trains with one rate; pass eta")
    return checks.learning_rate(eta1, "eta1"), checks.learning_rate(eta2, "eta2")


def _descent(net: TwoLayer | DeepNetwork, setting, on_all: bool) -> Fitting:
    """Of a setting (data, rates, offset): by the engine's own steps where it has them, for training on all points."""
    if not isinstance(net, TwoLayer):
        return DeepDescent(net, *setting)
    data, rates, _ = setting
    steps = (
        engine_of(*data).training.fused_steps(net.activation.compiled, *data, rates=rates, width=net.width)
        if on_all
        else None
    )
    return Descent(net, *setting) if steps is None else FusedDescent(net, setting, steps)


def _run(descent, records: Records, batches: Batches | None, saved: Checkpoint) -> None:
    """From the state of the descent to the last recorded step."""
    step, last = descent.state[0], records.last
    bar = progress.bar(total=last, text="gradient descent (steps)", initial=step)
    with descent.engine.one_blas_thread(), bar:
        while step <= last:
            alone = batches is not None or records.due(step)
            count = 1 if alone else min(records.until(step), descent.together)
            taken = _one(descent, records, batches, step) if alone else descent.advance(count)
            if taken < count:
                wrong = step + taken
                advice = "take a smaller learning rate" if wrong else "look at the activation and the weights"
                warnings.warn(
                    f"training diverged: outputs are no longer finite at step {wrong}; {advice}",
                    RuntimeWarning,
                    stacklevel=3,
                )
                return
            bar.update(min(count, last - step))
            step += count
            saved.now_and_then()


def _one(descent, records: Records, batches: Batches | None, step: int) -> bool:
    """Record a step that is due, and take it; False where outputs are no longer finite."""
    going_on = step < records.last
    if records.due(step):
        outputs = descent.outputs(gradients=batches is None and going_on)
        if outputs is None:
            return False
        records.write(step, outputs, descent.network())
    if going_on:
        if batches is not None and descent.outputs(gradients=True, rows=batches.rows(step)) is None:
            return False
        descent.step()
    return True


def _in_order(records: Records, steps, network) -> Trajectory:
    """The records in the order that was asked for."""
    place = np.searchsorted(records.steps, steps)
    watched = {name: values[place] for name, values in records.watched.items()}
    there, nothing = engine_of(records.train).xp.asarray(place), np.zeros(len(steps))
    test = None if records.test is None else records.test[there]
    return Trajectory(steps, records.train[there], test, "gradient descent", nothing, network, watched=watched)
