"""Real gradient descent, equation (4): what is recorded, and when it stops."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ntkspec import checks, progress
from ntkspec.dynamics import Trajectory
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.training.batches import Batches
from ntkspec.training.checkpoints import Checkpoint
from ntkspec.training.descent import Descent, Trainer
from ntkspec.training.descent_deep import DeepDescent
from ntkspec.training.descent_fused import FusedDescent
from ntkspec.training.records import Metric, Records


def train_gd(
    net: TwoLayer | DeepNetwork,
    X: ArrayLike,
    y: ArrayLike,
    *,
    steps: int | ArrayLike,
    eta1: float | None = None,
    eta2: float | None = None,
    eta: float | None = None,
    X_test: ArrayLike | None = None,
    subtract_start: bool = False,
    batch: int | None = None,
    seed: int = 0,
    watch: Metric | Sequence[Metric] = (),
    checkpoint: str | Path | None = None,
) -> Trajectory:
    r"""Train a network on :math:`L = \frac{1}{2n} \sum (f(x_i) - y_i)^2`; two layers by equation (4).

    .. math:: \nabla_{w_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{v_r \phi'(u_{ir}) x_i}{\sqrt{md}}, \quad
              \partial_{v_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{\phi(u_{ir})}{\sqrt m}

    Parameters
    ----------
    net : TwoLayer, FullyConnected or Convolutional
        The network at the start. It is not changed.
    X : array, shape (n, d)
        Training points, float32 or float64, of NumPy or CuPy.
    y : array, shape (n,)
        Labels.
    steps : int or sequence of int
        The steps to record, numbers >= 0 in any order; 0 is the start. Training runs to the largest.
    eta1, eta2 : float, optional
        Learning rates of the first and of the second layer of :class:`ntkspec.TwoLayer`, without unit; 0 leaves a layer
        as it is.
    eta : float, optional
        One rate for all layers, in the place of eta1 and eta2; the one that deep networks take.
    X_test : array, shape (n', d), optional
        Points whose outputs are recorded as well. Default None: no test outputs.
    subtract_start : bool
        Train f(x) - f_0(x), with f_0 the network at the start. Outputs then start at 0 without the pairs of equation
        (3); recorded outputs are less f_0, ``network`` is f itself. Default False.
    batch : int, optional
        Points of a step. Each epoch goes through all points in a new order. Default None: all points in each step.
    seed : int
        A whole number >= 0 that the order of the points in batches is drawn from. The same seed gives the same batches.
        Default 0.
    watch : function, or sequence of functions
        Metrics: functions of (net, the network now, X) that return {name: number}, called at the recorded steps, such
        as :func:`ntkspec.weight_movement` and :func:`ntkspec.kernel_drift`. Default: none.
    checkpoint : str or Path, optional
        A file that keeps weights and records, written every minute, on Ctrl-C and at the end. The same call goes on
        after an interruption and ends with the same bits on the same number of cores; a later call may ask for further
        steps. Default None: no file.

    Returns
    -------
    Trajectory
        ``steps`` as asked for, outputs ``train`` (steps, n) and ``test`` (steps, n') or None, in the dtype of X and the
        network together; ``network``, the trained one; ``watched``, {name: (steps,)} of the metrics; ``error``, zeros:
        nothing is truncated.

    Raises
    ------
    TypeError
        Where ``net`` is no network of this package, or a metric is no function or does not return {name: number}.
    ValueError
        Where shapes, rates, steps or batches do not fit, and where ``checkpoint`` is the file of another run.
    MemoryError
        Where the recorded outputs do not fit into memory.

    Notes
    -----
    Cost: 4 n m d flops a step for two layers (2 n m d where only the second is trained) and no (n, m) array; three
    passes forward for deep networks. Each step is one pass over blocks of rows that stay in cache. On a GPU, where the
    weights of two layers fit into registers, the host does not wait for single steps.

    Rounding: sums over points are taken in the dtype, block by block; runs on another number of cores differ by it.

    Where outputs are no longer finite, training stops with a RuntimeWarning that names the step. The records from there
    on are NaN, and ``network`` is the last one with finite outputs. SIGTERM costs the work since the checkpoint was
    last written; on the command line it does what Ctrl-C does.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eq. (4).

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> net = ns.TwoLayer.symmetric(4, 16, "erf")
    >>> run = ns.train_gd(net, X, np.sign(X[:, 0]), eta=0.5, steps=[0, 5, 10])
    >>> run.train.shape, bool(abs(run.train[0]).max() < 1e-15)
    ((3, 20), True)
    >>> bool(np.allclose(run.network(X), run.train[-1]))
    True
    """
    if not isinstance(net, TwoLayer | DeepNetwork):
        raise TypeError(f"net is a {type(net).__name__}, but an ntkspec network is needed, such as ntkspec.TwoLayer")
    X = checks.as_inputs(X, net.dim)
    y = checks.as_vector(y, "y", X.shape[0])
    rates, recorded = _rates(net, eta1, eta2, eta), checks.as_steps(steps)
    if X_test is not None:
        X_test = checks.as_inputs(X_test, net.dim, "X_test")
    engine_of(X, y, *([] if X_test is None else [X_test]))
    last = int(recorded.max())
    checks.duration(last, len(X) if batch is None else 1, f"training for {last} steps", "take fewer")
    metrics = _checked_metrics(watch)
    batches = None if batch is None else Batches(len(X), checks.whole_number(batch, "batch", 1), seed)
    dtype = np.result_type(X.dtype, net.dtype)
    X, y = X.astype(dtype, copy=False), y.astype(dtype, copy=False)
    with checks.memory_for("training", engine_of(X), "take fewer points, fewer recorded steps or float32"):
        offsets = [net(points) if subtract_start else None for points in (X, X_test) if points is not None]
        trainer = _trainer(net, X, y, rates=rates, offset=offsets[0], on_all=batches is None)
        records = Records(net, X, X_test, steps=np.unique(recorded), metrics=metrics, offset_test=offsets[-1])
        with Checkpoint(checkpoint, trainer, records, batch=batch, seed=seed) as saved:
            _run(trainer, records, batches, saved)
        return _in_order(records, recorded, trainer.network())


def _checked_metrics(watch: Metric | Sequence[Metric]) -> list[Metric]:
    """The argument ``watch`` as a list."""
    metrics = [watch] if callable(watch) else list(watch)
    for function in metrics:
        if not callable(function):
            raise TypeError(f"watch holds a {type(function).__name__}, but functions of (net, now, X) are needed")
    return metrics


def _rates(
    net: TwoLayer | DeepNetwork, eta1: float | None, eta2: float | None, eta: float | None
) -> tuple[float, float]:
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


def _trainer(
    net: TwoLayer | DeepNetwork,
    X: Array,
    y: Array,
    *,
    rates: tuple[float, float],
    offset: Array | None,
    on_all: bool,
) -> Trainer:
    """By the engine's own steps where it has them, for training on all points."""
    if not isinstance(net, TwoLayer):
        return DeepDescent(net, X, y, rates=rates, offset=offset)
    steps = (
        engine_of(X, y).training.fused_steps(net.activation.compiled, X, y, rates=rates, width=net.width)
        if on_all
        else None
    )
    if steps is None:
        return Descent(net, X, y, rates=rates, offset=offset)
    return FusedDescent(net, X, y, rates=rates, offset=offset, steps=steps)


def _run(trainer: Trainer, records: Records, batches: Batches | None, saved: Checkpoint) -> None:
    """From the state of the trainer to the last recorded step."""
    step, last = trainer.state[0], records.last
    bar = progress.bar(total=last, text="gradient descent (steps)", initial=step)
    with trainer.engine.one_blas_thread(), bar:
        while step <= last:
            alone = batches is not None or records.due(step)
            count = 1 if alone else min(records.until(step), trainer.together)
            taken = _one(trainer, records, batches, step) if alone else trainer.advance(count)
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


def _one(trainer: Trainer, records: Records, batches: Batches | None, step: int) -> bool:
    """Record a step that is due, and take it; False where outputs are no longer finite."""
    going_on = step < records.last
    if records.due(step):
        outputs = trainer.outputs(gradients=batches is None and going_on)
        if outputs is None:
            return False
        records.write(step, outputs, trainer.network())
    if going_on:
        if batches is not None and trainer.outputs(gradients=True, rows=batches.rows(step)) is None:
            return False
        trainer.step()
    return True


def _in_order(records: Records, steps: np.ndarray, network: TwoLayer | DeepNetwork) -> Trajectory:
    """The records in the order that was asked for."""
    place = np.searchsorted(records.steps, steps)
    measured = {name: values[place] for name, values in records.measured.items()}
    there, nothing = engine_of(records.train).xp.asarray(place), np.zeros(len(steps))
    test = None if records.test is None else records.test[there]
    return Trajectory(steps, records.train[there], test, "gradient descent", nothing, network, watched=measured)
