"""Gradient flow by neural-tangents' closed form on given matrices in float64, in an environment of its own.

`python neural_tangents_prediction_peer.py SETTING.npz RESULT.npz`, with the packages of
requirements-neural-tangents.txt.

SETTING.npz: K (n, n), K_test (n', n), y (n,) in float64, eta, times, repeats.
RESULT.npz: train (times, n), test (times, n'), seconds (best of the repeats, without compilation): the predictor is
made, which takes the eigendecomposition, and evaluated at all times. Flow is in units of eta on |f - y|^2 / (2 n).
"""

import sys
import time

import jax
import neural_tangents as nt
import numpy as np

jax.config.update("jax_enable_x64", True)


def main(setting_path: str, result_path: str) -> None:
    """Read the setting, measure, write the result."""
    with np.load(setting_path) as file:
        setting = dict(file)
    K, K_test, y, times = (jax.device_put(setting[name]) for name in ("K", "K_test", "y", "times"))
    arguments = K, K_test, y[:, None], float(setting["eta"]), times
    predict(*arguments)
    seconds = []
    for _ in range(int(setting["repeats"])):
        start = time.perf_counter()
        train, test = predict(*arguments)
        seconds.append(time.perf_counter() - start)
    np.savez(result_path, train=train[..., 0], test=test[..., 0], seconds=min(seconds))


def predict(K, K_test, y, eta: float, times):
    """Outputs on the training and the test points, from zero."""
    predict_fn = nt.predict.gradient_descent_mse(K, y, learning_rate=eta, diag_reg=0.0)
    return jax.block_until_ready(predict_fn(times, 0.0, 0.0, K_test))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python neural_tangents_prediction_peer.py SETTING.npz RESULT.npz")
    main(*sys.argv[1:])
