"""From a kernel operator to numbers with error bounds: norms, eigenpairs, traces, densities."""

from ntkspec.spectra.alignments import kernel_target_alignment, label_energy, spectral_position, subspace_angles
from ntkspec.spectra.densities import Density, spectral_density
from ntkspec.spectra.dimensions import condition_number, effective_rank, participation_ratio, spectral_entropy
from ntkspec.spectra.eigenpairs import eigsh
from ntkspec.spectra.norms import frobenius_norm, spectral_norm
from ntkspec.spectra.results import Diagnostics, Estimate, Spectrum
from ntkspec.spectra.traces import trace
from ntkspec.spectra.two_kernels import kernel_alignment, kernel_distance

__all__ = [
    "Density",
    "Diagnostics",
    "Estimate",
    "Spectrum",
    "condition_number",
    "effective_rank",
    "eigsh",
    "frobenius_norm",
    "kernel_alignment",
    "kernel_distance",
    "kernel_target_alignment",
    "label_energy",
    "participation_ratio",
    "spectral_density",
    "spectral_entropy",
    "spectral_norm",
    "spectral_position",
    "subspace_angles",
    "trace",
]
