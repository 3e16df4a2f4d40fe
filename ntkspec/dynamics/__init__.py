"""Training of kernel models in closed form: trajectories, laws and losses, stable rates, and the modes that learn."""

from ntkspec.dynamics.ensemble import ensemble
from ntkspec.dynamics.gaussians import Ensemble, Gaussian
from ntkspec.dynamics.laws import GradientDescent, GradientFlow, Law, LawLike, SpectralLaw, law_of
from ntkspec.dynamics.losses import Huber, Loss, LossFunction, LossLike, loss
from ntkspec.dynamics.modes import Modes, learning_modes
from ntkspec.dynamics.momentum import HeavyBall, Nesterov
from ntkspec.dynamics.posterior import Posterior, posterior
from ntkspec.dynamics.prediction import predict_gd
from ntkspec.dynamics.stability import largest_stable_rate, stable_rate
from ntkspec.dynamics.telling import UnstableRateWarning, warn_if_unstable
from ntkspec.dynamics.trajectory import Stability, Trajectory

__all__ = [
    "Ensemble",
    "Gaussian",
    "GradientDescent",
    "GradientFlow",
    "HeavyBall",
    "Huber",
    "Law",
    "LawLike",
    "Loss",
    "LossFunction",
    "LossLike",
    "Modes",
    "Nesterov",
    "Posterior",
    "SpectralLaw",
    "Stability",
    "Trajectory",
    "UnstableRateWarning",
    "ensemble",
    "largest_stable_rate",
    "law_of",
    "learning_modes",
    "loss",
    "posterior",
    "predict_gd",
    "stable_rate",
    "warn_if_unstable",
]
