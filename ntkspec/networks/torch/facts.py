"""What is known of a module once it has seen points."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What checks and forecasts found.

    n_outputs : K, None where the module returns (n,). flops : of one pass forward for a point, as torch counts them.
    bytes : that a backward pass keeps for a point. unreached : parameters that no output depends on. float64 : ""
    where the module runs in float64, else why not. rough : some of its operations are in float32 even then.
    """

    n_outputs: int | None
    flops: float
    bytes: float
    unreached: tuple[str, ...] = ()
    float64: str = ""
    rough: bool = False
