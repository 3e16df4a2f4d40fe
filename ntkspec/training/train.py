"""Real gradient descent, equation (4): what is recorded, and when it stops."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from ntkspec import checks, progress
from ntkspec.dynamics import Trajectory
from ntkspec.dynamics.batches import Batches, batch_of
from ntkspec.dynamics.laws import PLAIN, Law, LawLike, steps_of
from ntkspec.dynamics.losses import SQUARED, LossFunction, LossLike, name_of
from ntkspec.dynamics.losses import loss as loss_of
from ntkspec.dynamics.rates import RateLike, strength_of
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.networks.outputs import OutputsLike
from ntkspec.networks.points import count, rows
from ntkspec.networks.protocol import Network, Points, as_network
from ntkspec.training.checkpoints import Checkpoint
from ntkspec.training.records import Metric, Records
from ntkspec.training.targets import Targets, targets_of
from ntkspec.training.task import Task
from ntkspec.training.trainer import DIVERGING, Trainer
from ntkspec.training.trainers import rates_of, trainer_of


def train_gd(
    net: Network,
    X: Points,
    y: ArrayLike,
    *,
    steps: int | ArrayLike,
    eta1: RateLike | None = None,
    eta2: RateLike | None = None,
    eta: RateLike | None = None,
    X_test: Points | None = None,
    outputs: OutputsLike = "full",
    subtract_start: bool = False,
    law: LawLike = "gd",
    loss: LossLike = "squared",
    ridge: float = 0.0,
    weight_decay: float = 0.0,
    batch: int | None = None,
    seed: int = 0,
    watch: Metric | Sequence[Metric] = (),
    checkpoint: str | Path | None = None,
) -> Trajectory:
    r"""Train a network on :math:`L = \frac{1}{2n} \sum (f_k(x_i) - y_{ik})^2`; two layers by equation (4).

    Or on another loss, and by gradient descent or another law: the objects are those of :func:`ntkspec.predict_gd`.

    .. math:: \nabla_{w_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{v_r \phi'(u_{ir}) x_i}{\sqrt{md}}, \quad
              \partial_{v_r} L = \tfrac1n \sum_i (f_i - y_i) \tfrac{\phi(u_{ir})}{\sqrt m}

    Parameters
    ----------
    net : TwoLayer, FullyConnected, Convolutional, or a network of your own
        The network at the start, with whatever outputs it has there. It is not changed. One of your own comes from
        ``ntkspec.from_torch`` or ``ntkspec.from_jax`` and computes in its framework.
    X : (n, d) array, or n points as the network takes them
        Training points, float32 or float64, of NumPy or CuPy; a network of your own takes arrays of any rank, tuples,
        lists or dicts of arrays with one first axis.
    y : array, shape (n,) or (n, K)
        Labels, (n, K) for a network of K outputs. A network of one output is trained K times, once on each column: one
        class against the rest, or on all of them together where the loss is not a sum over columns.
    steps : int or sequence of int
        The steps to record, numbers >= 0 in any order; 0 is the start. Training runs to the largest.
    eta1, eta2 : float, function or array, optional
        Learning rates of the first and of the second layer of :class:`ntkspec.TwoLayer`, without unit; 0 leaves a layer
        as it is. Each is one number, or one for each step, as a function of the step from 0 or an array.
    eta : float, function or array, optional
        One rate for all layers, in the place of eta1 and eta2; the one that all other networks take.
    X_test : points, optional
        n' points whose outputs are recorded as well. Default None: no test outputs.
    outputs : "full", int or array (K,)
        What is trained of K outputs: all of them, that with a number, or their sum with weights; the latter two on y
        of shape (n,), and recorded so. Default "full".
    subtract_start : bool
        Train f(x) - f_0(x), with f_0 the network at the start. Outputs then start at 0 without the pairs of equation
        (3); recorded outputs are less f_0, ``network`` is f itself. Default False.
    law : "gd", HeavyBall, Nesterov or a law of your own
        How the steps are made of gradients: plain gradient descent, ``ntkspec.HeavyBall(momentum)``,
        ``ntkspec.Nesterov(momentum)``, or any object with two names: ``slots``, how many arrays it keeps for each
        array of weights (zero at the start), and ``move(descent, memory, step)``, which takes the learning rate times
        the gradient, these arrays and the number of the step from 0, and returns (what is added to the weights, the
        arrays to keep). Default "gd".
    loss : {"squared", "logistic", "cross-entropy"}, Huber or Loss
        (f - y)²/2; log(1 + exp(-y f)) for labels 1 and -1; the cross-entropy of the softmax of K outputs, for y (n, K)
        of probabilities, such as one-hot labels; ``ntkspec.Huber(delta)``; ``ntkspec.Loss(value, derivative)``, one of
        your own. Each is a mean over points, of losses that are sums over outputs. Default "squared".
    ridge : float
        Weight decay towards the start: ridge/2 \|w - w_0\|² is added to the loss, w_0 being the weights of ``net``.
        Default 0.
    weight_decay : float
        Weight decay towards zero: weight_decay/2 \|w\|² is added to the loss, as PyTorch's ``weight_decay`` of
        ``torch.optim.SGD``. Default 0.
    batch : int, optional
        Points of a step, at most n. Each epoch goes through all points in a new order. Default None: all points in each
        step.
    seed : int
        A whole number >= 0 that the order of the points in batches is drawn from. The same seed gives the same batches.
        Default 0.
    watch : function, or sequence of functions
        Metrics: functions of (net, the network now, X) that return {name: number}, called at the recorded steps, such
        as :func:`ntkspec.weight_movement` and :func:`ntkspec.kernel_drift`. Default: none.
    checkpoint : str or Path, optional
        A file that keeps weights, what the law remembers, and records, written every minute, on Ctrl-C and at the end.
        The same call goes on after an interruption and ends with the same bits on the same number of cores; a later
        call may ask for further steps. Default None: no file.

    Returns
    -------
    Trajectory
        ``steps`` as asked for, outputs ``train`` (steps, n) and ``test`` (steps, n') or None, with a last axis K where
        y has it, in the dtype of X and the network together; ``network``, the trained one (K copies are one network of
        K outputs, which has them as ``networks``); ``watched``, {name: (steps,)} of the metrics; ``error``, zeros:
        nothing is truncated.

    Raises
    ------
    TypeError
        Where ``net`` is no network, a metric is no function or does not return {name: number}, or a law or loss of your
        own does not return what it has to.
    ValueError
        Where shapes, rates, steps, outputs, batches or the labels of a loss do not fit, for ``law="flow"``, which has
        no steps, and where ``checkpoint`` is the file of another run.
    MemoryError
        Where the recorded outputs do not fit into memory.

    Notes
    -----
    Cost: 4 n m d flops a step for two layers (2 n m d where only the second is trained) and no (n, m) array; three
    passes forward for any other network. Each step is one pass over blocks of rows that stay in cache. On a GPU, where
    the weights of two layers fit into registers, the host does not wait for single steps.

    Training of all outputs is predicted by ``predict_gd(ntk(net, X, outputs="full"), y, start=net(X), ...)``, that of K
    copies by ``predict_gd(ntk(net, X), y, ...)``, that of one output by its own kernel.

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
    net = as_network(net, "training")
    points, tests = net.as_points(X), None if X_test is None else net.as_points(X_test, "X_test")
    n, recorded, metrics = count(points), checks.as_steps(steps), _checked_metrics(watch)
    seed = checks.whole_number(seed, "seed", 0)
    law, loss = steps_of(law), loss_of(loss)
    ridge, weight_decay = strength_of(ridge, "ridge"), strength_of(weight_decay, "weight_decay")
    targets = targets_of(net, y, n, outputs)
    loss.checked(targets.y)
    last = int(recorded.max())
    rates = rates_of(targets.net, eta1, eta2, eta=eta, steps=last)
    checks.duration(last, n if batch is None else 1, f"training for {last} steps", "take fewer")
    batches = None if batch is None else Batches(n, batch_of(batch, n), seed)
    labels = _like_outputs(targets, points, tests)
    with checks.memory_for("training", engine_of(labels), "take fewer points, fewer recorded steps or float32"):
        offset, offset_test = (
            targets.reading.of(targets.net(given)) if subtract_start and given is not None else None
            for given in (points, tests)
        )
        task = Task(
            targets.net,
            points,
            labels,
            rates,
            offset,
            targets.reading,
            batched=batches is not None,
            law=law,
            loss=loss,
            ridge=ridge,
            weight_decay=weight_decay,
        )
        trainer = trainer_of(task)
        records = Records(task, tests, steps=np.unique(recorded), metrics=metrics, offset_test=offset_test)
        with Checkpoint(checkpoint, trainer, records, batch=batch, seed=seed) as saved:
            _run(trainer, records, batches, saved)
        return _in_order(records, recorded, trainer.network(), _method(law, loss))


@DIVERGING
def _like_outputs(targets: Targets, points: Points, tests: Points | None) -> Array:
    """The labels in the dtype of the outputs; one point of each set shows that, and that all lie on one device."""
    found = [targets.net(rows(given, slice(0, 1))) for given in (points, tests) if given is not None]
    engine_of(targets.y, *found)
    return targets.y.astype(found[0].dtype, copy=False)


def _checked_metrics(watch: Metric | Sequence[Metric]) -> list[Metric]:
    """The argument ``watch`` as a list."""
    metrics = [watch] if callable(watch) else list(watch)
    for function in metrics:
        if not callable(function):
            raise TypeError(f"watch holds a {type(function).__name__}, but functions of (net, now, X) are needed")
    return metrics


def _run(trainer: Trainer, records: Records, batches: Batches | None, saved: Checkpoint) -> None:
    """From the state of the trainer to the last recorded step."""
    step, last = trainer.state.step, records.last
    bar = progress.bar(total=last, text="gradient descent (steps)", initial=step)
    # A network of the user's own has its framework's threads.
    threads = trainer.engine.one_blas_thread() if trainer.on_workers else nullcontext()
    with threads, bar:
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


def _method(law: Law, loss: LossFunction) -> str:
    named = type(law).__repr__ is not object.__repr__
    own = f"training by {checks.shown(law) if named else type(law).__name__}"
    return ("gradient descent" if law == PLAIN else own) + ("" if loss == SQUARED else f", {name_of(loss)} loss")


def _in_order(records: Records, steps: np.ndarray, network: Network, method: str) -> Trajectory:
    """The records in the order that was asked for."""
    place = np.searchsorted(records.steps, steps)
    measured = {name: values[place] for name, values in records.measured.items()}
    there, nothing = engine_of(records.train).xp.asarray(place), np.zeros(len(steps))
    test = None if records.test is None else records.test[there]
    return Trajectory(steps, records.train[there], test, method, nothing, network, watched=measured)
