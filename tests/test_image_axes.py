"""Images come in with their channels last, wherever they were."""

import numpy as np
import pytest

from ntkspec import datasets

LABELS = np.arange(30) % 2


def images(*shape):
    return np.random.default_rng(4).integers(0, 256, (30, *shape)).astype(np.uint8)


def load(tmp_path, X, **options):
    np.savez(tmp_path / "a.npz", X=X, y=LABELS)
    return datasets.load(tmp_path / "a.npz", n_test=0, **options)


def assert_are(data, meant):
    """That the data are these images (n, h, w, c), each one row with the channels of a pixel side by side."""
    flat = meant.reshape(30, -1).astype(float)
    np.testing.assert_allclose(data.X, (flat - flat.mean(axis=0)) * data.meta["scale"], atol=1e-12)
    assert data.meta["shape"] == meant.shape[1:]
    assert data.X.shape[1] == np.prod(data.meta["shape"])


@pytest.mark.parametrize(
    "shape",
    [(8, 8, 1), (8, 8, 3), (8, 8, 4), (9, 5, 3), (5, 9, 1), (6, 5, 4), (8, 8, 13), (3, 3, 1), (4, 4, 3), (2, 2, 3)],
)
def test_channels_are_found_first_and_last(tmp_path, shape):
    meant = images(*shape)
    for order, X in (("last", meant), ("first", np.moveaxis(meant, -1, 1))):
        data = load(tmp_path, X)
        assert_are(data, meant)
        height, width, channels = shape
        said = f"images: height {height}, width {width}, {channels} channel{'s' * (channels > 1)}, channels {order}"
        assert any(sentence.startswith(said) for sentence in data.meta["reading"])


@pytest.mark.parametrize(
    "shape", [(3, 8, 3), (3, 32, 1), (8, 7, 13), (5, 5, 5), (3, 3, 3), (4, 3, 2), (3, 3, 8), (1, 9, 3)]
)
def test_what_fits_both_orders_or_neither_is_asked_for(tmp_path, shape):
    with pytest.raises(ValueError, match=r"a.npz has shape \(n, .*may come first or last.*--channels first"):
        load(tmp_path, images(*shape))
    meant = images(*shape)
    assert_are(load(tmp_path, meant, channels="last"), meant)
    assert_are(load(tmp_path, np.moveaxis(meant, -1, 1), channels="first"), meant)


def test_what_is_asked_for_goes_before_what_is_found(tmp_path):
    meant = images(3, 8, 8)
    assert_are(load(tmp_path, meant, channels="last"), meant)


def test_points_of_two_axes_are_images_of_one_channel_and_it_is_told(tmp_path):
    meant = images(20, 3)
    data = load(tmp_path, meant)
    assert_are(data, meant[..., None])
    assert "images: height 20, width 3, one channel (points of two axes)" in data.meta["reading"]


def test_points_of_many_axes_are_rows_without_a_shape(tmp_path):
    data = load(tmp_path, images(2, 4, 4, 3))
    assert data.X.shape == (30, 96)
    assert "shape" not in data.meta


def test_test_images_are_turned_as_the_training_images(tmp_path):
    meant = images(7, 5, 3)
    first = np.moveaxis(meant, -1, 1)
    np.savez(tmp_path / "a.npz", x_train=first, y_train=LABELS, x_test=first[:6], y_test=LABELS[:6])
    data = datasets.load(tmp_path / "a.npz")
    assert_are(data, meant)
    np.testing.assert_allclose(data.X_test, data.X[:6], atol=1e-12)
    np.savez(tmp_path / "a.npz", x_train=first, y_train=LABELS, x_test=meant[:6], y_test=LABELS[:6])
    with pytest.raises(ValueError, match=r"X_test .* has 7 x 5 x 3 columns, but 3 x 7 x 5 are needed"):
        datasets.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        ((6,), "first", "four axes"),
        ((6, 6), "last", "four axes"),
        ((6, 6, 3), "middle", "channels='middle'.*'first', 'last'"),
    ],
)
def test_an_order_that_does_not_fit_is_refused(tmp_path, shape, channels, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, images(*shape), channels=channels)
