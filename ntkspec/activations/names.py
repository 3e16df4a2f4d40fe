"""Names of activations as people write them: ReLU, swish, np.tanh, torch.nn.GELU."""

import re
from typing import Any

# Where names come from; what stands before them says nothing else.
_LIBRARY = re.compile(
    r"(?:np|numpy|jnp|jax\.numpy|jax\.nn|jax\.scipy\.special|flax\.linen|scipy\.special|special|"
    r"torch(?:\.special|\.nn(?:\.functional)?)?|nn(?:\.functional)?|F)\.",
)
_SAME = {
    "swish": "silu",
    "linear": "identity",
    "expit": "sigmoid",
    "logistic": "sigmoid",
    "lrelu": "leaky_relu",
    "leakyrelu": "leaky_relu",
    "absolute": "abs",
    "fabs": "abs",
    "sine": "sin",
    "cosine": "cos",
}
# There gelu is an approximation by tanh.
_APPROXIMATE = re.compile(r"(?:jax\.nn|flax\.linen)\.gelu|gelu[_ ]?(?:tanh|new|fast|pytorch_tanh|approx\w*)")


def plain_name(name: str) -> str:
    """The name that this package has for it: without a library, brackets and capitals. Unknown ones stay as they are.

    Raises ValueError for the approximate gelu, which is another function than gelu here.
    """
    written = name.strip().removesuffix("()")
    if _APPROXIMATE.fullmatch(written.lower()):
        raise ValueError(
            f"activation {name!r} is the approximation of gelu by tanh, but gelu here is the exact one, as "
            f"torch.nn.GELU(); take gelu, or ntkspec.Activation with the two functions"
        )
    library = _LIBRARY.match(written)
    short = re.sub(r"[-\s]", "_", written[library.end() :] if library else written).lower()
    return _SAME.get(short.replace("_", ""), short)


def name_of(function: Any) -> str:
    """What np.tanh, torch.nn.GELU or torch.nn.ReLU() itself is called here; other objects give a name that is none."""
    library = "jax.nn." if getattr(function, "__module__", "").startswith("jax") else ""
    return plain_name(library + getattr(function, "__name__", repr(function)))
