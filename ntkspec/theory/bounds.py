r"""The right-hand sides of the paper's statements, as plain functions.

The paper's constants are not known: every function returns the statement at constant 1, in the order of the statement.
alpha is the paper's constant in (0, 1/4).
"""

import math


def _sizes(**sizes: float) -> None:
    for name, value in sizes.items():
        if not value >= 2:
            raise ValueError(f"{name}={value!r}, but the paper's statements are about {name} >= 2")


def concentration(n: int, d: int) -> float:
    """sqrt(log n / d), the yardstick of Claim 3.1 for \\|x\\|²/d - 1 and <x, x'>/d."""
    _sizes(n=n, d=d)
    return math.sqrt(math.log(n) / d)


def gap_bound(n: int, d: int, alpha: float) -> float:
    """n / d^(1 + alpha), Proposition 3.4 for \\|Theta_1 - Theta^lin1\\|; for Theta_2 a reconstruction."""
    return n / d ** (1 + alpha)


def frobenius_lower_bound(n: int, d: int) -> float:
    """n / d: what the paper says of \\|Theta_1 - Theta^lin1\\|_F (section 3.1.1). Not a theorem for all data."""
    return n / d


def horizon(d: int, eta: float, c: float = 1.0) -> float:
    """T = c d log(d) / eta, the steps up to which Theorems 3.2 and 3.5 speak."""
    _sizes(d=d)
    if not eta > 0:
        raise ValueError(f"{eta=}, but a learning rate > 0 is needed: with 0 nothing is ever learned")
    return c * d * math.log(d) / eta


def discrepancy_bound(d: int, alpha: float) -> float:
    """d^-alpha: (7) of Theorem 3.2 for the mean squared difference on the training data, Omega(alpha) read as alpha."""
    return d**-alpha


def test_discrepancy_bound(n: int, d: int, alpha: float, steps: float) -> float:
    """d^-alpha + sqrt(log(T)/n): (8) of Theorem 3.2 for E min{(f - f^lin)², 1}; T = steps."""
    return discrepancy_bound(d, alpha) + math.sqrt(math.log(max(steps, 1.0)) / n)


def least_width(d: int, alpha: float, *, layer: str = "first", centred: bool = True) -> float:
    """The width m that the theorems ask for: d^(1 + alpha), but d^(2 + alpha) for the second layer (Theorem 3.5) and
    both layers (a reconstruction) where E[phi(g)] is not 0 (``centred`` False)."""
    return d ** (1 + alpha if layer == "first" or centred else 2 + alpha)


def largest_rate(n: int, d: int, *, layer: str = "first", centred: bool = True) -> float:
    """What the learning rate must be far below: d (Theorem 3.2); d / log n or, where E[phi(g)] is not 0, 1 (3.5)."""
    _sizes(n=n, d=d)
    if layer == "first":
        return float(d)
    return d / math.log(n) if centred else 1.0


def trajectory_bound(gap: float, labels: float, eta: float, steps: float, n: int) -> float:
    r"""(eta t / n) \|Theta - Theta'\| rms(y), a bound on (1/sqrt n) \|u_t - u'_t\| for two semidefinite kernels.

    gap : \|Theta - Theta'\|. labels : the root mean square of y. Both runs start from 0 with the same stable eta.
    Proof: u_t - u'_t telescopes into t differences of one step, each at most (eta/n) \|Theta - Theta'\| \|y\|.
    """
    return eta * steps / n * gap * labels
