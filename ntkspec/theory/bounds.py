r"""The right-hand sides of the paper's statements, as plain functions.

The paper's constants are not known: every function returns the statement at constant 1, in the order of the statement.
alpha is the paper's constant in (0, 1/4).
"""

import math

from ntkspec import checks


def _refuse_small(**sizes: float) -> None:
    for name, value in sizes.items():
        if not value >= 2:
            raise ValueError(f"{name}={checks.shown(value)}, but the paper's statements are about {name} >= 2")


def concentration(n: int, d: int) -> float:
    r"""sqrt(log n / d), the yardstick of Claim 3.1 for \|x\|²/d - 1 and <x, x'>/d.

    Parameters
    ----------
    n : int
        Number of points, at least 2.
    d : int
        Entries of a point, at least 2.

    Returns
    -------
    float
        The size up to a constant, with high probability, of both deviations, the largest over all points or pairs.

    Raises
    ------
    ValueError
        Where n or d is below 2.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Claim 3.1.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> bool(np.isclose(ns.bounds.concentration(100, 50) ** 2, np.log(100) / 50))
    True
    """
    _refuse_small(n=n, d=d)
    return math.sqrt(math.log(n) / d)


def gap_bound(n: int, d: int, alpha: float) -> float:
    r"""n / d^(1 + alpha), the bound on \|Theta_1 - Theta^lin1\| in spectral norm.

    Parameters
    ----------
    n : int
        Number of training points.
    d : int
        Entries of a point.
    alpha : float
        The paper's constant in (0, 1/4): n and the width are at least d^(1 + alpha).

    Returns
    -------
    float
        The bound at constant 1. It holds with high probability over the initialization and the data.

    Notes
    -----
    For Theta_2 and for both layers the statement is in an appendix that we did not have; the same form is a
    reconstruction there.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Proposition 3.4.

    Examples
    --------
    >>> import ntkspec as ns
    >>> ns.bounds.gap_bound(1000, 16, 0.25) == 1000 / 16 / 2
    True
    """
    return n / d ** (1 + alpha)


def frobenius_lower_bound(n: int, d: int) -> float:
    r"""n / d, what the paper says of \|Theta_1 - Theta^lin1\|_F: the Frobenius norm is larger than the spectral one.

    Parameters
    ----------
    n : int
        Number of training points.
    d : int
        Entries of a point.

    Returns
    -------
    float
        The order of the norm from below, at constant 1. It is not a theorem for all data.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, section 3.1.1.

    Examples
    --------
    >>> import ntkspec as ns
    >>> ns.bounds.frobenius_lower_bound(1000, 50)
    20.0
    """
    return n / d


def horizon(d: int, eta: float, c: float = 1.0) -> float:
    """T = c d log(d) / eta, the number of steps up to which Theorems 3.2 and 3.5 hold.

    Parameters
    ----------
    d : int
        Entries of a point, at least 2.
    eta : float
        Learning rate, > 0.
    c : float, default 1
        The theorems' constant, which is not known.

    Returns
    -------
    float
        Number of steps of gradient descent.

    Raises
    ------
    ValueError
        Where d is below 2 or eta is not > 0.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Theorems 3.2 and 3.5.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> bool(np.isclose(ns.bounds.horizon(50, eta=0.5, c=2.0), 4 * 50 * np.log(50)))
    True
    """
    _refuse_small(d=d)
    if not eta > 0:
        raise ValueError(f"eta={checks.shown(eta)}, but a learning rate > 0 is needed: with 0 nothing is ever learned")
    return c * d * math.log(d) / eta


def discrepancy_bound(d: int, alpha: float) -> float:
    """d^-alpha, the bound on the mean squared difference of network and linear model on the training data.

    Parameters
    ----------
    d : int
        Entries of a point.
    alpha : float
        The paper's constant in (0, 1/4).

    Returns
    -------
    float
        Of (1/n) sum_i (f(x_i) - f^lin(x_i))², at constant 1, for all steps up to :func:`horizon`.

    Notes
    -----
    The paper's exponent is -Omega(alpha); it is read as -alpha here.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eq. (7).

    Examples
    --------
    >>> import ntkspec as ns
    >>> ns.bounds.discrepancy_bound(16, 0.25)
    0.5
    """
    return d**-alpha


def test_discrepancy_bound(n: int, d: int, alpha: float, steps: float) -> float:
    """d^-alpha + sqrt(log(T)/n), the bound on the expected difference of network and linear model on new points.

    Parameters
    ----------
    n : int
        Number of training points.
    d : int
        Entries of a point.
    alpha : float
        The paper's constant in (0, 1/4).
    steps : float
        T, the number of steps, at most :func:`horizon`.

    Returns
    -------
    float
        Of E min{(f(x) - f^lin(x))², 1} over the distribution of the points, at constant 1.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eq. (8).

    Examples
    --------
    >>> import ntkspec as ns
    >>> ns.bounds.test_discrepancy_bound(1000, 16, 0.25, steps=1) == ns.bounds.discrepancy_bound(16, 0.25)
    True
    """
    return discrepancy_bound(d, alpha) + math.sqrt(math.log(max(steps, 1.0)) / n)


def least_width(d: int, alpha: float, *, layer: str = "first", centred: bool = True) -> float:
    """The width m that the theorems ask for: d^(1 + alpha), or d^(2 + alpha).

    Parameters
    ----------
    d : int
        Entries of a point.
    alpha : float
        The paper's constant in (0, 1/4).
    layer : {"first", "second", "both", "all"}, default "first"
        The layers that are trained; "all" is another word for "both".
    centred : bool, default True
        Whether E[phi(g)] = 0 for g ~ N(0, 1).

    Returns
    -------
    float
        d^(2 + alpha) where the second layer is trained and ``centred`` is False, otherwise d^(1 + alpha).

    Raises
    ------
    ValueError
        For a ``layer`` that there is not.

    Notes
    -----
    For both layers the statement is in an appendix that we did not have; this is a reconstruction.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Theorems 3.2 and 3.5.

    Examples
    --------
    >>> import ntkspec as ns
    >>> ns.bounds.least_width(16, 0.25), ns.bounds.least_width(16, 0.25, layer="second", centred=False)
    (32.0, 512.0)
    """
    checks.one_of(layer, "layer", (*checks.LAYERS, "all"))
    return d ** (1 + alpha if layer == "first" or centred else 2 + alpha)


def largest_rate(n: int, d: int, *, layer: str = "first", centred: bool = True) -> float:
    """The learning rate that eta must be far below: d, d / log n or 1.

    Parameters
    ----------
    n : int
        Number of training points, at least 2.
    d : int
        Entries of a point, at least 2.
    layer : {"first", "second", "both", "all"}, default "first"
        The layers that are trained; "all" is another word for "both".
    centred : bool, default True
        Whether E[phi(g)] = 0 for g ~ N(0, 1).

    Returns
    -------
    float
        d for the first layer (Theorem 3.2); for the second one, and both, d / log n where ``centred``, otherwise 1
        (Theorem 3.5).

    Raises
    ------
    ValueError
        Where n or d is below 2, and for a ``layer`` that there is not.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Theorems 3.2 and 3.5.

    Examples
    --------
    >>> import ntkspec as ns
    >>> ns.bounds.largest_rate(1000, 50), ns.bounds.largest_rate(1000, 50, layer="second", centred=False)
    (50.0, 1.0)
    """
    _refuse_small(n=n, d=d)
    checks.one_of(layer, "layer", (*checks.LAYERS, "all"))
    if layer == "first":
        return float(d)
    return d / math.log(n) if centred else 1.0


def trajectory_bound(gap: float, labels: float, eta: float, steps: float, n: int) -> float:
    r"""(eta t / n) \|Theta - Theta'\| rms(y), a bound on the difference of two kernels' training outputs.

    It bounds (1/sqrt n) \|u_t - u'_t\| for gradient descent on the squared loss with two positive semidefinite kernels,
    both started from 0 with the same learning rate, which is stable for both.

    Parameters
    ----------
    gap : float
        \|Theta - Theta'\|, the spectral norm of the kernels' difference.
    labels : float
        Root mean square of y; of several outputs the root of the mean over points of the sum over outputs.
    eta : float
        Learning rate.
    steps : float
        t, the number of steps.
    n : int
        Number of training points.

    Returns
    -------
    float
        In the unit of the labels.

    Notes
    -----
    This is a theorem with its constant. Proof: u_t - u'_t telescopes into t differences of one step, each at most
    (eta/n) \|Theta - Theta'\| \|y\|.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> y, steps = np.array([1.0, -1.0]), 7
    >>> one, other = (ns.predict_gd(K, y, eta=0.5, steps=[steps]).train[-1] for K in (np.eye(2), 0.9 * np.eye(2)))
    >>> bool(np.sqrt(np.mean((one - other) ** 2)) <= ns.bounds.trajectory_bound(0.1, 1.0, 0.5, steps, 2))
    True
    """
    return eta * steps / n * gap * labels
