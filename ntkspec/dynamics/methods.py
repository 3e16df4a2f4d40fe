"""Three methods of training a kernel model in closed form, from residuals (b, n) to outputs (b, steps, n)."""

import math
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.dynamics.features import feature_modes
from ntkspec.dynamics.krylov import grow, outputs_on_test
from ntkspec.dynamics.problem import Problem
from ntkspec.dynamics.stability import stability_of
from ntkspec.dynamics.telling import reported
from ntkspec.dynamics.trajectory import Stability, Trajectory
from ntkspec.engines.arrays import Array
from ntkspec.operators import KernelOperator

# Past the largest stable rate outputs grow to infinity; that is followed, and was warned of.
_UNSTABLE = np.errstate(over="ignore", invalid="ignore")


@_UNSTABLE
def by_features(problem: Problem, *, F: Array, F_test: Array | None) -> Trajectory:
    """Through the k x k problem of features: K = F Fᵀ and K_* = F* Fᵀ."""
    engine, dtype = problem.kernel.engine, problem.kernel.dtype
    values, V, targets = feature_modes(F, problem.residual, engine)
    stability = reported(problem, [(values, (targets**2 / values).sum(axis=0))])
    gains = problem.rate * problem.law.gain(problem.rate * values, problem.steps)
    coefficients = engine.xp.asarray(np.vstack([gains * target for target in targets]) @ V.T)

    def outputs(features):
        rows = engine.shares(len(features))
        found = engine.run(_UNSTABLE(lambda share: (coefficients @ features[share].T).astype(dtype)), rows)
        return _by_vector(problem, engine.xp.hstack(found))

    test = None if F_test is None else outputs(F_test)
    return _exact(problem, outputs(F), test, f"features ({F.shape[1]})", stability)


@_UNSTABLE
def by_eigenpairs(problem: Problem) -> Trajectory:
    """Through all eigenpairs of K."""
    engine, kernel = problem.kernel.engine, problem.kernel
    values, V = engine.linalg.eigh(float64_matrix(kernel))
    values, targets = engine.to_host(values), [engine.to_host(V.T @ residual) for residual in problem.residual]
    stability = reported(problem, [(values, np.square(targets).sum(axis=0))])
    x, law = problem.rate * values, problem.law

    def in_space(parts):
        return engine.xp.asarray(np.vstack([parts * target for target in targets])) @ V.T

    train, test = in_space(law.learned(x, problem.steps)).astype(kernel.dtype), None
    if problem.kernel_test is not None:
        dual = in_space(problem.rate * law.gain(x, problem.steps))
        test = _by_vector(problem, outputs_on_test(problem.kernel_test, dual))
    return _exact(problem, _by_vector(problem, train), test, "dense eigenproblem", stability)


def _by_vector(problem: Problem, outputs):
    """Outputs of all steps of one vector after the other, (b steps, n), as (b, steps, n)."""
    return outputs.reshape(len(problem.residual), len(problem.steps), -1)


def _exact(problem: Problem, train, test, method: str, stability: Stability) -> Trajectory:
    """A trajectory that no truncation separates from the truth."""
    nothing = np.zeros(len(problem.steps))
    error_test = None if test is None else nothing
    return Trajectory(problem.steps, train, test, method, nothing, error_test=error_test, stability=stability)


def float64_matrix(kernel: KernelOperator) -> Array:
    """The matrix in float64, from the features where there are some: then its null space is one to 1e-16."""
    factors = kernel.low_rank_factors()
    if factors is None:
        matrix = kernel.to_dense(np.float64)
        checks.all_finite(matrix, "the kernel")
        return matrix
    F = factors[0].astype(np.float64, copy=False)
    return F @ F.T


@_UNSTABLE
def by_krylov(problem: Problem) -> Trajectory:
    """Through a Krylov basis from each residual."""
    kernel, kernel_test, steps, xp = problem.kernel, problem.kernel_test, problem.steps, problem.kernel.engine.xp
    live = [k for k, residual in enumerate(problem.residual) if residual.any()]
    still = xp.zeros((len(steps), 1), kernel.dtype) + 0 * problem.residual[0].astype(kernel.dtype)
    train = [still for _ in problem.residual]
    dtype = kernel.dtype if kernel_test is None else np.result_type(kernel.dtype, kernel_test.dtype)
    test: Any = None
    if kernel_test is not None:
        test = kernel_test.engine.xp.zeros((len(train), len(steps), kernel_test.shape[0]), dtype)
    if not live:
        nothing = stability_of(problem, np.zeros(0), np.zeros(0), complete=False)
        return _exact(problem, xp.stack(train), test, "nothing to learn", nothing)
    bases = grow(replace(problem, residual=problem.residual[live]))
    modes = [(basis.theta, basis.weights**2) for basis in bases]
    stability = reported(problem, modes, complete=all(basis.lanczos.exhausted for basis in bases))
    for k, basis in zip(live, bases, strict=True):
        train[k] = basis.outputs()
    error = reduce(np.hypot, [basis.bound for basis in bases]) / math.sqrt(problem.points)
    method, error_test = f"Krylov ({sum(basis.lanczos.products for basis in bases)})", None
    if kernel_test is not None:
        for k, basis in zip(live, bases, strict=True):
            test[k] = basis.outputs_of(kernel_test)
        # Where only products are known the diagonal would take n of them: the largest Ritz value stands for it.
        largest = float(kernel.diagonal().max() if kernel.entrywise else max(basis.theta.max() for basis in bases))
        growth = np.sqrt(2 * problem.rate * steps * problem.law.amplification * largest)
        error_test = np.max([basis.bound for basis in bases], axis=0) * growth
    return Trajectory(steps, xp.stack(train), test, method, error, error_test=error_test, stability=stability)
