"""The public names as type checkers and editors see them; `_HOMES` in `__init__.py` is the list that runs."""

from ntkspec import cluster as cluster
from ntkspec import datasets as datasets
from ntkspec import operators as operators
from ntkspec import plotting as plotting
from ntkspec.activations import Activation as Activation
from ntkspec.activations import activation as activation
from ntkspec.dynamics import Ensemble as Ensemble
from ntkspec.dynamics import HeavyBall as HeavyBall
from ntkspec.dynamics import Nesterov as Nesterov
from ntkspec.dynamics import Posterior as Posterior
from ntkspec.dynamics import Trajectory as Trajectory
from ntkspec.dynamics import ensemble as ensemble
from ntkspec.dynamics import largest_stable_rate as largest_stable_rate
from ntkspec.dynamics import learning_modes as learning_modes
from ntkspec.dynamics import posterior as posterior
from ntkspec.dynamics import predict_gd as predict_gd
from ntkspec.experiments.results import load_result as load_result
from ntkspec.experiments.results import save_result as save_result
from ntkspec.experiments.tracking import Series as Series
from ntkspec.experiments.tracking import Tracker as Tracker
from ntkspec.experiments.tracking import checkpoints as checkpoints
from ntkspec.experiments.tracking import track as track
from ntkspec.kernels import LinearFit as LinearFit
from ntkspec.kernels import cnn_linear_kernel as cnn_linear_kernel
from ntkspec.kernels import expected_cnn_ntk as expected_cnn_ntk
from ntkspec.kernels import expected_nngp as expected_nngp
from ntkspec.kernels import expected_ntk as expected_ntk
from ntkspec.kernels import linear_expansion as linear_expansion
from ntkspec.kernels import linear_kernel as linear_kernel
from ntkspec.kernels import nearest_linear_kernel as nearest_linear_kernel
from ntkspec.kernels import ntk as ntk
from ntkspec.kernels import trace_ratio as trace_ratio
from ntkspec.networks import Convolutional as Convolutional
from ntkspec.networks import FullyConnected as FullyConnected
from ntkspec.networks import TwoLayer as TwoLayer
from ntkspec.networks import linearize as linearize
from ntkspec.networks import load_network as load_network
from ntkspec.networks.jax import from_jax as from_jax
from ntkspec.networks.torch import from_torch as from_torch
from ntkspec.operators import KernelOperator as KernelOperator
from ntkspec.operators import Plan as Plan
from ntkspec.operators import plan as plan
from ntkspec.reporting.page import report as report
from ntkspec.spectra import Density as Density
from ntkspec.spectra import Estimate as Estimate
from ntkspec.spectra import Spectrum as Spectrum
from ntkspec.spectra import condition_number as condition_number
from ntkspec.spectra import effective_rank as effective_rank
from ntkspec.spectra import eigsh as eigsh
from ntkspec.spectra import frobenius_norm as frobenius_norm
from ntkspec.spectra import kernel_alignment as kernel_alignment
from ntkspec.spectra import kernel_distance as kernel_distance
from ntkspec.spectra import kernel_target_alignment as kernel_target_alignment
from ntkspec.spectra import label_energy as label_energy
from ntkspec.spectra import participation_ratio as participation_ratio
from ntkspec.spectra import spectral_density as spectral_density
from ntkspec.spectra import spectral_entropy as spectral_entropy
from ntkspec.spectra import spectral_norm as spectral_norm
from ntkspec.spectra import spectral_position as spectral_position
from ntkspec.spectra import subspace_angles as subspace_angles
from ntkspec.spectra import trace as trace
from ntkspec.storage import load_kernel as load_kernel
from ntkspec.storage import save_kernel as save_kernel
from ntkspec.theory import Budget as Budget
from ntkspec.theory import bounds as bounds
from ntkspec.theory import gap_budget as gap_budget
from ntkspec.training import kernel_drift as kernel_drift
from ntkspec.training import train_gd as train_gd
from ntkspec.training import weight_movement as weight_movement

__version__: str
__all__: list[str]

def __dir__() -> list[str]: ...
