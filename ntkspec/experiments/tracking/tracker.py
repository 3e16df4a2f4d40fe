"""A network along its training: in a user's own loop, or checkpoint by checkpoint."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from ntkspec import progress
from ntkspec.dynamics.laws import LawLike
from ntkspec.engines.arrays import ArrayLike
from ntkspec.experiments.tracking.files import Checkpoints
from ntkspec.experiments.tracking.recorder import Recorder
from ntkspec.experiments.tracking.series import Series
from ntkspec.experiments.tracking.task import PAIRS, TrackTask
from ntkspec.networks.outputs import OutputsLike
from ntkspec.networks.protocol import Layer, Network, Points
from ntkspec.spectra.results import Estimate

Pairs: TypeAlias = Iterable[tuple[int, Network]]


class Tracker:
    r"""Measures the kernel of a network inside a training loop of your own, at the steps that you name.

    Parameters
    ----------
    network : TwoLayer, FullyConnected, Convolutional, or a network of your own
        The network that is trained. One of :func:`ntkspec.from_torch` is taken as its module is at each record; others
        do not change, and come with each record.
    X, y, eta, law, quantities, layer, outputs, pairs, path, seed, method
        As :func:`track` takes them. A ``path`` also keeps the weights of the first and the last record.

    Raises
    ------
    ValueError
        For quantities that there are not, and a rate that is none; as :func:`track` at the first record.

    Notes
    -----
    In a ``with`` block the file is this tracker's alone. A loop that was killed and starts again, at its own
    checkpoint or from the start, records on: steps that the file has are not measured again, and the first record is
    still what others are compared with. Kernels are of the parameters at the record: the loop may go on changing them.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X = np.random.default_rng(0).standard_normal((12, 4))
    >>> net = ns.TwoLayer.symmetric(4, 16, "erf")
    >>> with ns.Tracker(net, X, X[:, 0], eta=1.0, quantities=["edge", "movement"]) as tracker:
    ...     for step in range(3):
    ...         found = tracker.record(step, net)
    ...         net = ns.train_gd(net, X, X[:, 0], eta=1.0, steps=[1]).network
    >>> tracker.series.steps.tolist(), round(found["movement"], 3) > 0
    ([0, 1, 2], True)
    """

    def __init__(
        self,
        network: Network,
        X: Points,
        y: ArrayLike,
        *,
        eta: float | None = None,
        law: LawLike = "gd",
        quantities: str | Sequence[str] | None = None,
        layer: Layer = "all",
        outputs: OutputsLike = "full",
        pairs: int = PAIRS,
        path: str | Path | None = None,
        seed: int = 0,
        method: str | None = None,
    ):
        task = TrackTask(quantities, eta, layer, outputs, pairs, seed, method, law=law)
        self.network = network
        self._recorder, self._open = Recorder(X, y, task, path=path, keeps=True), contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self._recorder.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def record(self, step: int, network: Network | None = None) -> dict[str, Estimate]:
        """Measure the network as it is now.

        Parameters
        ----------
        step : int
            Steps that were taken, >= 0, more than at the record before.
        network : network, optional
            The network now, where it is another object than the one the tracker was made with. Default None: that one.

        Returns
        -------
        dict of str to Estimate
            What was measured, by name, for logs: each is a number where one is needed.

        Raises
        ------
        ValueError
            For a step that is not after all others, or that the file has with other weights.
        """
        if not self._recorder.opened:
            raise ValueError("the tracker writes a file, so it is used in a block: with ns.Tracker(...) as tracker:")
        if network is not None:
            self.network = network
        self._recorder.record(step, self.network)
        return {name: self.series.at(name, step) for name in self.series}

    @property
    def series(self) -> Series:
        """All records so far. ValueError before the first one."""
        found = self._recorder.series
        if found is None:
            raise ValueError("nothing was recorded yet; call record(step) in the loop")
        return found


def track(
    networks: Pairs,
    X: Points,
    y: ArrayLike,
    *,
    eta: float | None = None,
    law: LawLike = "gd",
    quantities: str | Sequence[str] | None = None,
    layer: Layer = "all",
    outputs: OutputsLike = "full",
    pairs: int = PAIRS,
    path: str | Path | None = None,
    seed: int = 0,
    method: str | None = None,
) -> Series:
    r"""Measure the NTK of a network along its training, checkpoint by checkpoint.

    On the loss :math:`\frac{1}{2n} \sum (f - y)^2` gradient descent moves outputs by
    :math:`u \leftarrow u - \frac{\eta}{n} \Theta (u - y)`: with a kernel that stays, it is stable while

    .. math:: \frac{\lambda_{max}(\Theta)}{n} < \frac{2}{\eta}

    The left side, the "sharpness", is the largest eigenvalue of the Gauss-Newton part of the loss' Hessian. Where
    training drives it up to 2/eta and it stays there, training is at the edge of stability.

    Parameters
    ----------
    networks : Checkpoints, or iterable of (step, network)
        The network at ascending steps: :func:`checkpoints` of files, or pairs. The first one is the start, which
        others are compared with. Each is TwoLayer, FullyConnected, Convolutional, or a network of your own
        (:func:`ntkspec.from_torch`, :func:`ntkspec.from_jax`).
    X : (n, d) array, or n points as the networks take them
        The points of the kernels, with the very numbers that the network was trained on.
    y : array, shape (n,) or (n, K)
        Labels, (n, K) for K outputs.
    eta : float, optional
        The learning rate of the loss above, a sum over outputs. That of PyTorch's ``MSELoss``, a mean over points and
        outputs, is twice as large over K: eta = 2 lr / K. Default None: nothing is said of the edge.
    law : "gd", HeavyBall or Nesterov
        How the network was trained: 2/eta becomes 2 (1 + beta)/eta for ``ntkspec.HeavyBall(beta)`` and 2 (1 +
        beta)/((1 + 2 beta) eta) for ``ntkspec.Nesterov(beta)``. Default "gd".
    quantities : str or sequence of str, optional
        What is measured; nothing else is computed.

        - "edge": ``largest_eigenvalue`` of Theta, and ``sharpness``, that over n;
        - "target_alignment": :func:`ntkspec.kernel_target_alignment`;
        - "label_energy": the part of \|y\|² in the leading eigenvectors (:func:`ntkspec.label_energy`), and
          their eigenvalues;
        - "from_start", "from_previous": ``distance`` and ``alignment`` to the kernel of the first checkpoint and to
          that of the one before (:func:`ntkspec.kernel_distance`, :func:`ntkspec.kernel_alignment`);
        - "residual": ``loss``, and ``residual_position``, where in the spectrum y - f lies
          (:func:`ntkspec.spectral_position`);
        - "effective_rank": :func:`ntkspec.effective_rank`;
        - "layers": the share of each layer in the trace of Theta;
        - "movement": \|w(t) - w(0)\| over \|w(0)\|, of all weights and of each layer;
        - "angles": angles of the leading eigenspace with that at the start (:func:`ntkspec.subspace_angles`);
        - "linear": ``linear_gap``, the relative distance to the nearest linear kernel
          (:func:`ntkspec.nearest_linear_kernel`), of several outputs that of their mean kernel;
        - "prediction": losses that the kernel of each checkpoint, kept fixed, predicts from there on
          (:func:`ntkspec.predict_gd`), and ``prediction_error``, how far the kernel before missed the outputs,
          \|f_pred - f\|² over \|f - f_before\|². Needs ``eta``, and training without momentum.

        "all" is every one. Default None: all but the last three.
    layer : str, int or list of str, default "all"
        Whose weights, as :func:`ntkspec.ntk` takes it.
    outputs : str, int or array (K,), default "full"
        Which kernel of K outputs, as :func:`ntkspec.ntk` takes it. Only "full", n K rows, is exact for the dynamics and
        its edge. The largest eigenvalue of "mean" is at most that of "full", at a fraction of the cost.
    pairs : int, default 10
        Leading eigenpairs of "label_energy" and "angles".
    path : str or Path, optional
        An HDF5 file, written after each checkpoint: the same call after an interruption goes on, and does not repeat
        what was measured. :func:`ntkspec.load_result` and :func:`ntkspec.report` read it. Default None: no file.
    seed : int, default 0
        Seed of the random start vectors.
    method : "dense", "factored" or "streamed", optional
        How kernels are multiplied (:func:`ntkspec.plan`). Default None: chosen at the first checkpoint.

    Returns
    -------
    Series
        ``series["sharpness"]`` over ``series.steps``, with ``lower`` and ``upper`` ends; ``verdict`` in words,
        ``plot(what=...)``, ``to_dataframe()``.

    Raises
    ------
    TypeError
        For something that is no network.
    ValueError
        For quantities that there are not, labels that do not fit, steps that do not ascend, and a file of another
        series.

    Notes
    -----
    The kernel of a checkpoint is formed once and shared by its quantities; those at the start and of the step before
    are kept. Cost: that of the quantities. Memory: three kernels. Frobenius norms are exact where the kernel is stored
    or small, and otherwise in intervals from products.

    References
    ----------
    J. Cohen, S. Kaur, Y. Li, J. Z. Kolter, A. Talwalkar, Gradient descent on neural networks typically occurs at the
    edge of stability, ICLR 2021.

    J. Cohen, B. Ghorbani, S. Krishnan, N. Agarwal, S. Medapati, M. Badura, D. Suo, D. Cardoze, Z. Nado, G. E. Dahl, J.
    Gilmer, Adaptive gradient methods at the edge of stability, arXiv:2207.14484, 2022: with momentum.

    S. Fort, G. K. Dziugaite, M. Paul, S. Kharaghani, D. M. Roy, S. Ganguli, Deep learning versus kernel learning,
    NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X = np.random.default_rng(0).standard_normal((20, 4))
    >>> nets = [(0, ns.FullyConnected.random(4, [32, 32], "tanh"))]
    >>> for step in (10, 20):
    ...     nets.append((step, ns.train_gd(nets[-1][1], X, np.sign(X[:, 0]), eta=0.5, steps=[10]).network))
    >>> series = ns.track(nets, X, np.sign(X[:, 0]), eta=0.5, quantities=["edge", "from_start", "residual"])
    >>> print(series.verdict[0][:47])
    Below the edge of stability at all checkpoints:
    >>> bool((np.diff(series["loss"]) < 0).all())
    True
    """
    task = TrackTask(quantities, eta, layer, outputs, pairs, seed, method, law=law)
    return tracked(networks, Recorder(X, y, task, path=path))


def tracked(networks: Pairs, recorder: Recorder) -> Series:
    """The series of a recorder, with all of the networks in it."""
    total = len(networks) if isinstance(networks, Sequence | Checkpoints) else None
    with recorder.open(), progress.bar(total=total, text="checkpoints") as bar:
        told = total is None
        for number, pair in enumerate(networks, 1):
            step, network = _pair(pair)
            source = networks.source(step) if isinstance(networks, Checkpoints) else ""
            seconds = recorder.record(step, network, source)
            bar.update()
            if not told and seconds and total is not None:
                told = True
                recorder.expect(seconds * (total - number))
        if recorder.series is None:
            raise ValueError(
                "no checkpoints came; pass (step, network) pairs, or ntkspec.checkpoints(make, 'runs/*.pt')"
            )
        return recorder.series


def _pair(given: object) -> tuple[int, Network]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(f"networks holds a {type(given).__name__}, but pairs (step, network) are needed")
    return given[0], given[1]
