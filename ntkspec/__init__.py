"""How close a network's Neural Tangent Kernel is to the kernel of a linear model, and what that says about training.

``import ntkspec as ns`` loads nothing but the names; each heavy library is loaded on first use.
"""

from importlib import import_module as _import_module

_HOMES = {
    "Activation": "activations",
    "activation": "activations",
    "trace_ratio": "kernels",
    "TwoLayer": "networks",
    "FullyConnected": "networks",
    "Convolutional": "networks",
    "load_network": "networks",
    "linearize": "networks",
    "from_torch": "networks.torch",
    "from_jax": "networks.jax",
    "ntk": "kernels",
    "linear_kernel": "kernels",
    "linear_expansion": "kernels",
    "cnn_linear_kernel": "kernels",
    "nearest_linear_kernel": "kernels",
    "LinearFit": "kernels",
    "expected_ntk": "kernels",
    "expected_nngp": "kernels",
    "expected_cnn_ntk": "kernels",
    "Budget": "theory",
    "gap_budget": "theory",
    "KernelOperator": "operators",
    "Plan": "operators",
    "plan": "operators",
    "Estimate": "spectra",
    "spectral_norm": "spectra",
    "frobenius_norm": "spectra",
    "trace": "spectra",
    "condition_number": "spectra",
    "effective_rank": "spectra",
    "participation_ratio": "spectra",
    "spectral_entropy": "spectra",
    "kernel_alignment": "spectra",
    "kernel_distance": "spectra",
    "kernel_target_alignment": "spectra",
    "label_energy": "spectra",
    "spectral_position": "spectra",
    "subspace_angles": "spectra",
    "Density": "spectra",
    "spectral_density": "spectra",
    "save_kernel": "storage",
    "load_kernel": "storage",
    "Spectrum": "spectra",
    "eigsh": "spectra",
    "Trajectory": "dynamics",
    "Ensemble": "dynamics",
    "ensemble": "dynamics",
    "Posterior": "dynamics",
    "posterior": "dynamics",
    "predict_gd": "dynamics",
    "HeavyBall": "dynamics",
    "Nesterov": "dynamics",
    "Huber": "dynamics",
    "Loss": "dynamics",
    "loss": "dynamics",
    "largest_stable_rate": "dynamics",
    "learning_modes": "dynamics",
    "train_gd": "training",
    "weight_movement": "training",
    "kernel_drift": "training",
    "track": "experiments.tracking",
    "Tracker": "experiments.tracking",
    "checkpoints": "experiments.tracking",
    "Series": "experiments.tracking",
    "report": "reporting.page",
    "save_result": "experiments.results",
    "load_result": "experiments.results",
    "bounds": "theory",
    "cluster": None,
    "datasets": None,
    "operators": None,
    "plotting": None,
}

__version__ = "0.1.0"
__all__ = [*sorted(_HOMES)]


def __getattr__(name: str):
    if name not in _HOMES:
        meant = "" if name.startswith("_") else _meant(name)  # Python asks modules for private names
        raise AttributeError(f"module 'ntkspec' has no attribute {name!r}; {meant}it offers {', '.join(__all__)}")
    home = _HOMES[name]
    value = _import_module(f"ntkspec.{name}") if home is None else getattr(_import_module(f"ntkspec.{home}"), name)
    globals()[name] = value
    return value


def _meant(name: str) -> str:
    """The public name that is close to an unknown one, as a question."""
    from difflib import get_close_matches

    close = get_close_matches(name, __all__, n=1)
    return f"did you mean {close[0]}? " if close else ""


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
