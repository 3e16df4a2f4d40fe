"""What a module raises at points that were not tried at construction names the point, and what is taken instead."""

import numpy as np
import pytest

import ntkspec as ns

torch = pytest.importorskip("torch", reason="the networks are PyTorch's, which is not installed")
nn = torch.nn

from networks import ResNet  # noqa: E402  (after the skip)


class Refusing(nn.Module):
    """A linear layer whose code raises for points with a number above 3."""

    def __init__(self):
        super().__init__()
        self.readout = nn.Linear(4, 2)

    def forward(self, x):
        if bool((x > 3).any()):
            raise RuntimeError("too large\nfor this module")
        return self.readout(x)


def of_tokens():
    torch.manual_seed(0)
    points = torch.randint(0, 11, (40, 5))
    points[33, 2] = 11
    allowed = f"integers from {int(points[33].min())} to 11, where an embedding of the module takes 0 to 10"
    return nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(20, 2)).double(), points, f"IndexError.*{allowed}"


def of_numbers():
    points = torch.rand(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points[33, 0] = 4.0
    return Refusing().double(), points, r"RuntimeError \(too large\)"


WAYS = {
    "outputs": lambda net, X: net(X),
    "vjp": lambda net, X: net.vjp(X, np.ones((40, 2))),
    "jvp": lambda net, X: net.jvp(X, net.weights),
    "product": lambda net, X: ns.ntk(net, X, outputs="full")._matmat(np.ones((80, 1))),
    "tiles": lambda net, X: ns.ntk(net, X).to_dense(),
    "tile": lambda net, X: ns.ntk(net, X).tile(slice(30, 36), slice(0, 5)),
    "diagonal": lambda net, X: ns.ntk(net, X).diagonal(),
    "norm": lambda net, X: ns.spectral_norm(ns.ntk(net, X)),
    "training": lambda net, X: ns.train_gd(net, X, np.ones((40, 2)), eta=0.1, steps=[1]),
}


@pytest.mark.parametrize("made", [of_tokens, of_numbers])
@pytest.mark.parametrize("way", WAYS)
def test_the_point_is_named(made, way):
    module, points, reason = made()
    with pytest.raises(ValueError, match=f"{reason}.*") as caught:
        WAYS[way](ns.from_torch(module), points)
    assert " at point 33 (counted from 0)" in str(caught.value)
    assert type(caught.value.__cause__) is (IndexError if made is of_tokens else RuntimeError)


def test_of_two_sets_of_points_it_is_said_which():
    module, points, _ = of_tokens()
    with pytest.raises(ValueError, match="at point 33 of X2"):
        ns.ntk(ns.from_torch(module), points[:30], points).to_dense()
    with pytest.raises(ValueError, match="at point 13 of X "):
        ns.ntk(ns.from_torch(module), points[20:], points[:30]).to_dense()


def test_points_that_are_tried_first_say_what_is_allowed():
    module, points, _ = of_tokens()
    with pytest.raises(ValueError, match=r"integers from 0 to 11, where an embedding of the module takes 0 to 10"):
        ns.from_torch(module).as_points(torch.cat([points[33:], points[:33]]))


@pytest.mark.parametrize("seed", range(4))
def test_a_new_network_with_many_relus_near_zero_is_taken(seed):
    """As PyTorch makes it: normalization by statistics that have seen no points leaves small numbers in late layers."""
    torch.manual_seed(seed)
    net = ns.from_torch(ResNet([8, 16], 1, 2).eval())
    assert net(torch.randn(4, 3, 16, 16)).shape == (4, 2)
