"""Where one number is needed, nothing else is taken for one: no truth value, no word, nothing complex."""

import numpy as np
import pytest

import ntkspec as ns

K, Y = np.eye(3), np.array([1.0, -1.0, 1.0])
NET = ns.TwoLayer.symmetric(3, 4, "erf")


def predicted(**how):
    return ns.predict_gd(K, Y, **({"eta": 0.1, "steps": [1]} | how))


def trained(**how):
    return ns.train_gd(NET, K, Y, **({"eta": 0.1, "steps": [1]} | how))


# By the name in the message: what takes the number.
TAKES = {
    "eta": [
        lambda x: predicted(eta=x),
        lambda x: predicted(eta=lambda step: x),
        lambda x: trained(eta=x),
        lambda x: ns.learning_modes(K, Y, eta=x),
        lambda x: ns.ensemble(K, K, Y, eta=x, steps=[1]),
        lambda x: ns.track([(0, NET)], K, Y, eta=x),
    ],
    "eta1": [lambda x: trained(eta=None, eta1=x, eta2=0.1)],
    "ridge": [lambda x: predicted(ridge=x), lambda x: trained(ridge=x)],
    "weight_decay": [lambda x: predicted(weight_decay=x), lambda x: trained(weight_decay=x)],
    "batch": [lambda x: predicted(batch=x), lambda x: trained(batch=x)],
    "seed": [
        lambda x: predicted(batch=1, seed=x),
        lambda x: trained(batch=1, seed=x),
        lambda x: ns.spectral_norm(K, seed=x),
    ],
    "steps": [lambda x: predicted(steps=x), lambda x: trained(steps=x), lambda x: predicted(steps=x, law="flow")],
    "noise": [lambda x: ns.posterior(K, K, None, Y, noise=x)],
    "momentum": [ns.HeavyBall, ns.Nesterov],
    "delta": [ns.Huber],
    "rtol": [lambda x: ns.spectral_norm(K, rtol=x), lambda x: ns.largest_stable_rate(K, rtol=x)],
    "failure_probability": [lambda x: ns.spectral_norm(K, failure_probability=x)],
    "part": [lambda x: ns.learning_modes(K, Y, eta=0.1).steps_to_learn(x)],
    "pairs": [lambda x: ns.track([(0, NET)], K, Y, pairs=x)],
}


@pytest.mark.parametrize("name", TAKES)
def test_what_is_no_number_is_refused_by_its_name(name):
    for take in TAKES[name]:
        for wrong in (True, False, np.True_, "a", 1 + 0j, np.complex128(0.5), np.nan, {}):
            with pytest.raises(ValueError, match=rf"^{name}( at step 0)?="):
                take(wrong)


def test_training_in_batches_needs_a_seed():
    """None is the mean over all batches in a prediction, and no such thing in training."""
    with pytest.raises(ValueError, match="seed=None"):
        trained(batch=1, seed=None)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), 1, np.int64(1)])
def test_numbers_of_every_kind_are_taken(number):
    assert predicted(eta=number).train.shape == (1, 3)
    assert predicted(ridge=number, weight_decay=number).train.shape == (1, 3)
    assert float(ns.HeavyBall(number * 0.5).momentum) == 0.5 * number
    assert ns.posterior(K, K, None, Y, noise=number).mean.shape == (3,)


@pytest.mark.parametrize("name", ["eta", "ridge", "weight_decay", "noise"])
def test_numbers_beyond_every_float_are_refused(name):
    for take in TAKES[name]:
        for wrong in (10**400, -1, np.inf):
            with pytest.raises(ValueError, match=rf"^{name}( at step 0)?="):
                take(wrong)
