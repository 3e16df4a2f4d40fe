"""Networks that are functions of JAX's: kernels against jax.jacobian in float64, training steps, refusals."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy

import jax_networks as networks  # noqa: E402  (after the skip)
from jax_networks import jacobian  # noqa: E402
from ntkspec.networks import blocks as block_sizes  # noqa: E402
from ntkspec.networks.jax import jacobian as sides  # noqa: E402
from ntkspec.networks.jax.tracing import _equations  # noqa: E402
from ntkspec.networks.points import count  # noqa: E402

KINDS = ["full", "trace", "mean", "sum"]


def expected(J, J2, outputs):
    """From gradients (n, K, P): the definitions, neural-tangents' among them ("mean" is its trace_axes=(-1,))."""
    K = J.shape[1]
    if not isinstance(outputs, str):
        weights = np.eye(K)[outputs] if np.ndim(outputs) == 0 else np.asarray(outputs)
        return np.einsum("k,ikp,l,jlp->ij", weights, J, weights, J2)
    every = np.einsum("ikp,jlp->ijkl", J, J2)
    return {
        "full": every.transpose(0, 2, 1, 3).reshape(len(J) * K, -1),
        "trace": np.trace(every, axis1=2, axis2=3),
        "mean": np.trace(every, axis1=2, axis2=3) / K,
        "sum": every.sum(axis=(2, 3)) / K,
    }[outputs]


def close(found, right, rtol=1e-10):
    assert found.shape == right.shape
    assert abs(found - right).max() <= rtol * abs(right).max()


def as_float64(params):
    return jax.tree_util.tree_map(lambda leaf: np.asarray(leaf, float) if networks.is_float(leaf) else leaf, params)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, marks=[] if make in networks.DEFAULT else pytest.mark.slow)
        for make in [*networks.PLAIN, *networks.LIBRARIES]
    ],
)
def test_kernels_are_inner_products_of_gradients(make):
    function, params, X = make(np.random.default_rng(0))
    params = as_float64(params)
    net, J = ns.from_jax(function, params), np.concatenate(jacobian(function, params, X), axis=2)
    close(net(X), networks.outputs(function, params, X))
    K = J.shape[1]
    others = [*KINDS[1:], K - 1, np.arange(1.0, K + 1)] if make is networks.mlp else ["mean"]
    for outputs in ["full", *others]:
        right, op = expected(J, J, outputs), ns.ntk(net, X, outputs=outputs)
        assert op.points == count(X)
        V = np.random.default_rng(1).standard_normal((len(right), 4))
        close(op.to_dense(), right)
        close(op._multiplied(V), right @ V)
        close(op.diagonal(), right.diagonal())


def test_kernels_between_different_points():
    function, params, X = networks.tied(np.random.default_rng(0))
    net, X2 = ns.from_jax(function, params), X[1:4]
    J, J2 = (np.concatenate(jacobian(function, params, points), axis=2) for points in (X, X2))
    for outputs in ("full", "mean"):
        op, right = ns.ntk(net, X, X2, outputs=outputs), expected(J, J2, outputs)
        close(op.to_dense(), right)
        close(op._multiplied(np.eye(right.shape[1])[:, :2]), right[:, :2])
        close(op.T._multiplied(np.eye(len(right))[:, :2]), right[:2].T)


def test_layers_go_by_globs_and_add_up():
    function, params, X = networks.mlp(np.random.default_rng(0))
    net = ns.from_jax(function, params)
    assert list(net.parameters) == ["0.b", "0.w", "1.b", "1.w", "2.b", "2.w"]
    parts = jacobian(function, params, X)
    for layer, chosen in {"*.w": [1, 3, 5], "1.*": [2, 3], "2.b": [4]}.items():
        J = np.concatenate([parts[k] for k in chosen], axis=2)
        close(ns.ntk(net, X, layer=layer, outputs="full").to_dense(), expected(J, J, "full"))
    each = [ns.ntk(net, X, layer=layer).to_dense() for layer in ("0.*", ["1.*", "2.b"], "2.w")]
    close(sum(each), ns.ntk(net, X).to_dense())


def test_other_parameters_are_constants():
    function, params, X = networks.mlp(np.random.default_rng(0))
    for parameters in ("*.w", ["0.w", "1.w", "2.w"], lambda name, array: array.ndim == 2):
        net = ns.from_jax(function, params, parameters=parameters)
        assert list(net.parameters) == ["0.w", "1.w", "2.w"]
    J = np.concatenate(jacobian(function, params, X)[1::2], axis=2)
    close(ns.ntk(net, X).to_dense(), expected(J, J, "mean"))


def test_names_of_the_frameworks():
    def names(make):
        function, params, _ = make(np.random.default_rng(0))
        return list(ns.from_jax(function, params).parameters)

    assert names(networks.linen)[:3] == ["BatchNorm_0.bias", "BatchNorm_0.scale", "Dense_0.bias"]
    assert names(networks.nnx) == [f"{a}.{b}" for a in ("first", "last") for b in ("bias", "kernel")] + [
        "norm.bias",
        "norm.scale",
    ]
    assert names(networks.equinox)[:2] == ["layers.0.weight", "layers.0.bias"]


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    points=st.integers(1, 5),
    seed=st.integers(0, 9),
    outputs=st.sampled_from(KINDS),
)
@settings(max_examples=3, deadline=None)
def test_random_networks(sizes, points, seed, outputs):
    function, params, X = networks.mlp(np.random.default_rng(seed), sizes=tuple(sizes), points=points)
    J = np.concatenate(jacobian(function, params, X), axis=2)
    op, right = ns.ntk(ns.from_jax(function, params), X, outputs=outputs), expected(J, J, outputs)
    close(op.to_dense(), right)
    close(op._multiplied(np.eye(len(right))), right)


# ------------------------------------------------------------------------------------------------ blocks and threads
@pytest.mark.parametrize(("dtype", "outputs", "size"), [(np.float32, "full", 500.0), (np.float64, "mean", 4000.0)])
def test_blocks_do_not_change_results(dtype, outputs, size, monkeypatch):
    function, params, X = networks.mlp(np.random.default_rng(0), points=11)
    net = ns.from_jax(function, jax.tree_util.tree_map(lambda a: a.astype(dtype), params))
    J = np.concatenate(jacobian(function, net.params, X.astype(dtype)), axis=2)
    right, eps = expected(J, J, outputs), 100 * np.finfo(dtype).eps
    V = np.random.default_rng(1).standard_normal((len(right), 19)).astype(dtype)
    monkeypatch.setattr(block_sizes.block_rows, "__defaults__", (5000.0,))
    monkeypatch.setattr(sides, "GRADIENT_BYTES", size)
    for kept in (2.0**31, 0.0):
        monkeypatch.setattr(sides, "KEPT_BYTES", kept)
        op = ns.ntk(net, X, outputs=outputs)
        op.left.held = min(op.left.held, 3)
        close(op.to_dense(), right, eps)
        close(op._multiplied(V), right @ V, eps)
        close(op.diagonal(), right.diagonal(), eps)
        some = np.array([len(right) - 1, 0, 2])
        close(op.tile(some, slice(1, 4), np.float64), right[some, 1:4], 1e-10)


@pytest.mark.parametrize("kept", [2.0**31, 0.0])
def test_tiles_are_formed_by_several_threads(kept, monkeypatch):
    monkeypatch.setattr(sides, "KEPT_BYTES", kept)
    function, params, X = networks.mlp(np.random.default_rng(0), points=600)
    J = np.concatenate(jacobian(function, params, X), axis=2)
    close(ns.ntk(ns.from_jax(function, params), X).to_dense(), expected(J, J, "mean"))


# --------------------------------------------------------------------------------------------------------- precision
def test_float64_stays_float64_whatever_the_setting_of_jax():
    function, params, X = networks.mlp(np.random.default_rng(0))
    before = jax.config.jax_enable_x64
    net = ns.from_jax(function, params)
    assert net.dtype == net(X).dtype == ns.ntk(net, X).dtype == np.float64
    assert all(array.dtype == np.float64 for array in net.weights)
    assert jax.config.jax_enable_x64 == before


def test_float32_products_are_within_their_estimated_rounding():
    function, params, X = networks.mlp(np.random.default_rng(0), sizes=(20, 50, 50, 1), points=40)
    single = jax.tree_util.tree_map(np.float32, params)
    op = ns.ntk(ns.from_jax(function, single), X)
    J = np.concatenate(jacobian(function, single, X.astype(np.float32)), axis=2)
    right, rounding = expected(J, J, "mean"), op.rounding
    V = np.random.default_rng(1).standard_normal((40, 20))
    V = np.column_stack([V, np.linalg.eigh(right)[1]])
    V /= np.linalg.norm(V, axis=0)
    errors = np.linalg.norm(op._multiplied(V) - right @ V, axis=0)
    assert errors.max() <= rounding.matvec_error_bound <= 1e-4 * np.linalg.norm(right, 2)
    assert np.linalg.norm(op.to_dense() - right) <= op.formed_error
    assert np.linalg.norm(op.to_dense(np.float64) - right) <= rounding.forming_error_bound


def test_norms_of_float32_kernels_hold_the_true_one():
    function, params, X = networks.mlp(np.random.default_rng(0), points=30)
    single = jax.tree_util.tree_map(np.float32, params)
    J = np.concatenate(jacobian(function, single, X.astype(np.float32)), axis=2)
    found = ns.spectral_norm(ns.ntk(ns.from_jax(function, single), X, outputs="full"))
    assert found.lower <= np.linalg.norm(expected(J, J, "full"), 2) <= found.upper


def test_a_function_that_rounds_to_float32_itself_is_called_rough():
    def function(params, x):
        return (x.astype(jnp.float32) @ params["w"].astype(jnp.float32)).sum(axis=1) ** 2

    rng = np.random.default_rng(0)
    params, X = {"w": rng.standard_normal((4, 3))}, rng.standard_normal((6, 4))
    op = ns.ntk(ns.from_jax(function, params), X)
    exact = np.concatenate(jacobian(lambda p, x: (x @ p["w"]).sum(axis=1) ** 2, params, X), axis=2)
    right = expected(exact, exact, "mean")
    assert np.linalg.norm(op.to_dense() - right) <= op.formed_error <= 1e-4 * np.linalg.norm(right)


# ------------------------------------------------------------------------------------------------------------ training
@pytest.mark.parametrize("make", [networks.mlp, networks.scalar])
def test_value_and_vjp_is_the_gradient_of_a_loss(make, monkeypatch):
    monkeypatch.setattr(block_sizes.block_rows, "__defaults__", (500.0,))
    function, params, X = make(np.random.default_rng(0))
    net = ns.from_jax(function, params)
    target = np.random.default_rng(1).standard_normal(net(X).shape)
    outputs, gradient = net.value_and_vjp(net.as_points(X), lambda rows, found: found - target[rows])
    close(outputs, net(X))
    with jax.enable_x64(True):
        loss = lambda params: 0.5 * ((function(params, X) - target) ** 2).sum()  # noqa: E731
        right = jax.tree_util.tree_leaves(jax.grad(loss)(networks.doubled(params)))
    for one, other in zip(gradient, right, strict=True):
        close(one, np.asarray(other))
    step = net.with_weights([w - 1e-6 * g for w, g in zip(net.weights, gradient, strict=True)])
    assert 0.5 * ((step(X) - target) ** 2).sum() < 0.5 * ((net(X) - target) ** 2).sum()


def test_jvp_and_vjp_are_adjoint():
    function, params, X = networks.mlp(np.random.default_rng(0))
    net, rng = ns.from_jax(function, params), np.random.default_rng(1)
    v, u = [rng.standard_normal(w.shape) for w in net.weights], rng.standard_normal(net(X).shape)
    pushed, pulled = net.jvp(X, v), net.vjp(X, u)
    assert pushed.shape == u.shape
    assert abs((pushed * u).sum() - sum((a * b).sum() for a, b in zip(v, pulled, strict=True))) < 1e-10


def test_a_network_is_apart_from_what_it_was_made_of():
    function, params, X = networks.mlp(np.random.default_rng(0))
    given = jax.tree_util.tree_map(jnp.asarray, params)
    net = ns.from_jax(function, given)
    before, op = net(X), ns.ntk(net, X)
    right = op.to_dense()
    jax.tree_util.tree_map(lambda leaf: leaf.delete(), given)
    for layer in params:
        layer["w"][:] = 0
    moved = net.with_weights([2 * w for w in net.weights])
    assert (net(X) == before).all()
    assert (op.to_dense() == right).all()
    assert not (moved(X) == before).all()


def test_networks_and_kernels_pickle():
    pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    function, params, X = networks.of_dicts(np.random.default_rng(0))
    net = ns.from_jax(function, params, parameters="w")
    again = pickle.loads(pickle.dumps(net))
    assert list(again.parameters) == ["w"]
    assert (again(X) == net(X)).all()
    op = ns.ntk(net, X)
    close(pickle.loads(pickle.dumps(op)).to_dense(), op.to_dense())


# ---------------------------------------------------------------------------------------------------- derivatives
def test_a_function_with_only_a_reverse_rule_is_pushed_by_transposing_it():
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, g: (3 * x**2 * g,))
    rng = np.random.default_rng(0)
    params, X = {"w": rng.standard_normal((4, 3))}, rng.standard_normal((6, 4))
    function = lambda p, x: cube(x @ p["w"])  # noqa: E731
    J = np.concatenate(jacobian(function, params, X), axis=2)
    op = ns.ntk(ns.from_jax(function, params), X, outputs="full")
    close(op._multiplied(np.eye(18)), expected(J, J, "full"))


def test_parameters_that_no_output_reaches_are_listed():
    function, params, X = networks.scalar(np.random.default_rng(0))
    net = ns.from_jax(function, params | {"unused": np.ones(3)})
    right = ns.from_jax(function, params)
    close(ns.ntk(net, X).to_dense(), ns.ntk(right, X).to_dense())
    assert net.unreached == ["unused"]


def test_flops_count_products_and_scans():
    function, params, X = networks.recurrent(np.random.default_rng(0))
    net = ns.from_jax(function, params)
    net.as_points(X)
    products = 5 * 2 * (3 * 4 + 4 * 4) + 2 * 4 * 2
    assert products <= net.flops <= 1.5 * products


def test_kinks_at_zero_points_are_no_wrong_derivative():
    params = {"w": np.ones((3, 4)), "b": np.zeros(4), "out": np.ones(4)}
    net = ns.from_jax(lambda p, x: jax.nn.relu(x @ p["w"] + p["b"]) @ p["out"], params)
    assert ns.ntk(net, np.zeros((4, 3))).to_dense().max() <= 4


@pytest.mark.parametrize("n", [1, 2])
def test_few_points_and_many_outputs(n):
    rng = np.random.default_rng(0)
    params, X = {"w": rng.standard_normal((4, 1000))}, rng.standard_normal((n, 4))
    net = ns.from_jax(lambda p, x: x @ p["w"], params)
    close(ns.ntk(net, X).to_dense(), X @ X.T)
    close(ns.ntk(net, X, outputs="full").to_dense(), np.kron(X @ X.T, np.eye(1000)))


# ----------------------------------------------------------------------------------------------------------- refusals
def linear(params, x):
    return x @ params["w"]


W = {"w": np.ones((3, 2))}
X = np.random.default_rng(0).standard_normal((5, 3))


@pytest.mark.parametrize(
    ("function", "params", "error", "said"),
    [
        (3, W, TypeError, "takes a function of"),
        (linear, {}, ValueError, "holds no arrays of floating-point numbers"),
        (linear, {"w": np.ones((3, 2), np.float16)}, TypeError, "parameter w is float16, but float32 or float64"),
        (linear, {"w": jnp.ones((3, 2), jnp.bfloat16)}, TypeError, "parameter w is bfloat16"),
        (linear, {"w": np.ones((3, 2), complex)}, TypeError, "parameter w is complex128"),
        (linear, {"w": np.ones((3, 2)), "b": np.ones(2, np.float32)}, TypeError, "float32 (b) and float64 (w)"),
        (linear, {"w": np.full((3, 2), np.nan)}, ValueError, "parameter w holds NaN"),
        (linear, {"w": jax.ShapeDtypeStruct((3, 2), np.float32)}, TypeError, "a shape without numbers"),
    ],
)
def test_parameters_that_are_refused(function, params, error, said):
    with pytest.raises(error) as caught:
        ns.from_jax(function, params)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        (lambda p, x: (x @ p["w"]).argmax(axis=1), TypeError, "returned int"),
        (lambda p, x: (x @ p["w"], x), TypeError, "returned a tuple"),
        (lambda p, x: (x @ p["w"]).sum(), ValueError, "returned shape () for 2 points"),
        (lambda p, x: (x @ p["w"])[:, :, None], ValueError, "returned shape (2, 2, 1)"),
        (lambda p, x: x @ p["v"], ValueError, "the function failed on 2 points of shapes (2, 3): KeyError"),
        (lambda p, x: (x @ p["w"]).astype(jnp.bfloat16).astype(float), TypeError, "computes in bfloat16"),
        (lambda p, x: jnp.log(x @ p["w"] * 0), ValueError, "returns NaN or infinity"),
        (lambda p, x: x @ p["w"] - (x @ p["w"]).mean(axis=0), ValueError, "change by"),
        (lambda p, x: x @ p["w"] / len(x), ValueError, "change by"),
        (lambda p, x: x / abs(x).max() @ p["w"], ValueError, "change by"),
        (
            lambda p, x: x @ p["w"] * jax.random.bernoulli(jax.random.key(0), 0.5, (len(x), 2)),
            ValueError,
            "deterministic=True",
        ),
        (lambda p, x: x @ p["w"] * np.random.default_rng().random(), ValueError, "other outputs each time"),
        (
            lambda p, x: (lambda y: y + jax.lax.stop_gradient(jnp.round(y) - y))(x @ p["w"]),
            ValueError,
            "derivative of the function is not that of its outputs",
        ),
    ],
)
def test_functions_that_are_refused(function, error, said):
    with pytest.raises(error) as caught:
        ns.ntk(ns.from_jax(function, {"w": np.random.default_rng(0).standard_normal((3, 2))}), X)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_rule_of_differentiation_is_refused():
    @jax.custom_jvp
    def half(x):
        return x / 2

    half.defjvp(lambda primals, tangents: (primals[0] / 2, tangents[0] / 3))
    with pytest.raises(ValueError, match="derivative of the function is not that of its outputs"):
        ns.ntk(ns.from_jax(lambda p, x: half(x @ p["w"]), W), X)


@pytest.mark.parametrize(
    ("points", "error", "said"),
    [
        (np.ones((0, 3)), ValueError, "holds no points"),
        (1.0, ValueError, "holds no points"),
        (np.full((2, 3), np.inf), ValueError, "X holds 6 entries that are NaN or infinite"),
        (np.array([["a", "b"]]), TypeError, "real numbers are needed"),
        ((X, X[:2]), ValueError, "X[0] has 5, X[1] has 2"),
        (np.ones((2, 4)), ValueError, "the function failed"),
        ({}, ValueError, "holds no arrays"),
    ],
)
def test_points_that_are_refused(points, error, said):
    with pytest.raises(error) as caught:
        ns.from_jax(linear, W)(points)
    assert said in str(caught.value)


@pytest.mark.parametrize("others", [np.ones((3, 5)), np.ones((3, 2, 4)), {"x": np.ones((3, 3))}, (np.ones((3, 3)),)])
def test_points_of_another_form_are_refused_before_any_product(others):
    """Also where others have come before."""
    net = ns.from_jax(linear, W)
    net(X)
    for pair in ([others], [X, others], [others, X]):
        with pytest.raises((ValueError, TypeError), match=r"the function (failed on|returned)"):
            ns.ntk(net, *pair)


def test_points_of_several_lengths_have_kernels_with_each_other():
    rng = np.random.default_rng(0)
    short, long, params = rng.standard_normal((4, 2, 3)), rng.standard_normal((5, 7, 3)), {"w": np.ones((3, 2))}

    def function(p, x):
        return jnp.tanh(x @ p["w"]).mean(1)

    net, ((J,), (J2,)) = ns.from_jax(function, params), (jacobian(function, params, one) for one in (short, long))
    close(ns.ntk(net, short, long).to_dense(), expected(J, J2, "mean"))


def test_names_that_match_nothing_are_refused_with_those_there_are():
    function, params, X = networks.mlp(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"is the name of no parameter; there are 0\.b, 0\.w"):
        ns.from_jax(function, params, parameters="dense*")
    with pytest.raises(ValueError, match=r"did you mean '1\.\*'"):
        ns.ntk(ns.from_jax(function, params), X, layer="1")
    with pytest.raises(TypeError, match="a glob on parameter names"):
        ns.ntk(ns.from_jax(function, params), X, layer=1)


def test_without_jax_one_line_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("ntkspec.networks.jax.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"needs JAX, which is not installed; python -m pip install 'ntkspec\[jax\]'"
    ):
        ns.from_jax(linear, W)


def test_importing_ntkspec_does_not_load_jax():
    code = "import sys, ntkspec as ns; ns.from_jax; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_float64_gradients_of_points_are_no_convolution_in_groups():
    """XLA on CPUs takes time and memory in the square of the groups."""
    function, params, X = networks.convolutional(np.random.default_rng(0))
    net = ns.from_jax(function, as_float64(params))
    ns.ntk(net, X)
    passes, weights = net._passes
    with jax.experimental.enable_x64() if hasattr(jax.experimental, "enable_x64") else jax.enable_x64(True):
        jaxpr = jax.make_jaxpr(passes.gradients)(*weights, net.as_points(X), np.eye(net.n_outputs)).jaxpr
    groups = [
        eqn.params[kind]
        for eqn in _equations(jaxpr)
        if eqn.primitive.name == "conv_general_dilated"
        for kind in ("feature_group_count", "batch_group_count")
    ]
    assert groups
    assert set(groups) == {1}
