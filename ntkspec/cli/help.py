"""What a command says of itself below its options, and of options that other programs have."""

from collections.abc import Sequence

from ntkspec.cli.streams import ENDS

# At least one for each command, with what it does; each of them is read by the parser in the tests.
EXAMPLES: dict[str, dict[str, str]] = {
    "analyze": {
        "ntkspec analyze": "the setting of Figure 1",
        "ntkspec analyze --data table.csv --label diagnosis --activation relu": "your own data",
        "ntkspec analyze --data mnist --classes 4 9 --network fc:4x512": "a deep network on images",
        "ntkspec analyze --network model.py:make --inputs nchw --data cifar10": "your own network",
        "ntkspec analyze --data mnist --classes all --loss cross-entropy --law nesterov": "ten classes, with momentum",
    },
    "spectrum": {
        "ntkspec spectrum --data my.npz --kernel gap": "of Theta - Theta^lin",
        "ntkspec spectrum --data mnist --n-test 0 --activation relu --width 4096": "60,000 images",
    },
    "track": {
        "ntkspec track --network model.py:make --checkpoints 'runs/*.pt' --data my.npz --eta 0.1": "a run of PyTorch",
        "ntkspec track --network fc:2x64 --checkpoints runs --data my.npz --quantities edge from_start": "a folder",
    },
    "check": {
        "ntkspec check prop-3.4 --activation erf relu --n d^1.5 --width d^1.5": "two activations",
        "ntkspec check prop-3.4-deep --network fc:3xd^1.75": "deep networks",
    },
    "sweep": {
        "ntkspec sweep --quantity gap-first --d 32:256:x1.5 --width d^1.5 4096": "two laws of the width",
        "ntkspec sweep --quantity gap-both --network fc:4x512 cnn:4x64:k3 --d 32:72:x1.5": "deep networks",
    },
    "constants": {"ntkspec constants gelu": "", "ntkspec constants leaky_relu --negative-slope 0.2": ""},
    "doctor": {
        "ntkspec doctor": "what to add to a report of a fault",
        "ntkspec doctor --scheduler tcp://10.0.0.1:8786": "before a long run on a cluster",
    },
    "rerun": {
        "ntkspec rerun ntkspec-analyze/NAME/analysis.h5": "after another version was installed",
        "ntkspec rerun ntkspec-sweep.h5 --verbose": "every number of every cell",
    },
    "report": {"ntkspec report ntkspec-analyze/NAME/analysis.h5 -o page.html": "one page to send"},
    "completion": {"ntkspec completion bash > ~/.local/share/bash-completion/completions/ntkspec": "for new shells"},
    "figure": {"ntkspec figure 1 --n 2000 --steps 500": "a smaller Figure 1"},
    "figure 1": {
        "ntkspec figure 1 --n 2000 --steps 500 --dimensions 25 50": "a smaller setting",
        "ntkspec figure 1 --law heavy-ball --momentum 0.9 --batch 256": "with momentum, in batches",
    },
    "figure 2": {"ntkspec figure 2 --width 1024": "a narrower network"},
    "figure 3": {"ntkspec figure 3 --data mnist --network fc:2x256 --steps 500": "a smaller setting"},
    "figure 5": {"ntkspec figure 5 --activation relu --seeds 3": "of ReLU"},
    "figure budget": {"ntkspec figure budget --activation relu": "of ReLU"},
}


def epilogue(command: str) -> str:
    """The text below the options."""
    examples = (f"{line}  ({what})" if what else line for line, what in EXAMPLES[command].items())
    return "\n\n".join(["Examples:", *examples, ENDS])


# What other programs call the options of this one.
OTHER_NAMES = {
    "lr": "eta",
    "learning-rate": "eta",
    "epochs": "steps",
    "iterations": "steps",
    "dataset": "data",
    "hidden": "width",
    "device": "engine",
    "model": "network",
    "out": "output",
    "samples": "n",
    "dim": "d",
    "optimizer": "law",
    "criterion": "loss",
    "batch-size": "batch",
}


def meant(words: Sequence[str]) -> str:
    """What to write instead of the first option of :data:`OTHER_NAMES` among the words; nothing where none is."""
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and (own := OTHER_NAMES.get(name[2:].replace("_", "-"))):
            return f"{name} is --{own} here."
    return ""
