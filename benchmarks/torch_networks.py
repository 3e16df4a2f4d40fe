"""Small networks of the kinds that people bring, and points for them; the sizes are arguments.

Every network is in evaluation mode, with random values also where PyTorch starts from ones and zeros (biases, norms,
running statistics), so that a term that is left out shows.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn


class MLP(nn.Module):
    """Linear with bias, LayerNorm and GELU, for each of the widths, and a linear readout."""

    def __init__(self, inputs: int, widths, outputs: int):
        super().__init__()
        sizes = [inputs, *widths]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.readout = nn.Linear(sizes[-1], outputs)

    def forward(self, x):
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = F.gelu(norm(layer(x)))
        return self.readout(x)


class Block(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm beside a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class ResNet(nn.Module):
    """A stage of so many blocks for each number of channels, all but the first with stride 2; the stem of CIFAR."""

    def __init__(self, channels, blocks: int, outputs: int, inputs: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        stages, before = [], channels[0]
        for k, width in enumerate(channels):
            strides = [1 if k == 0 else 2] + [1] * (blocks - 1)
            stages.append(nn.Sequential(*(Block(width if j else before, width, s) for j, s in enumerate(strides))))
            before = width
        self.stages = nn.Sequential(*stages)
        self.readout = nn.Linear(channels[-1], outputs)

    def forward(self, x):
        x = self.stages(self.relu(self.bn(self.conv(x))))
        return self.readout(x.mean((2, 3)))


class Attention(nn.Module):
    """One layer of a transformer, normalized before: causal scaled-dot-product attention, then two linear layers."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, T, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, T, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, T, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Tokens (n, T) with learned positions; logits of the last position, by a head of its own or the tied embedding.

    outputs=None ties the head to the embedding, so that K is the size of the vocabulary.
    """

    def __init__(self, vocabulary: int, positions: int, width: int, heads: int, layers: int, outputs: int | None):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.layers = nn.ModuleList(Attention(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs or vocabulary, bias=False)
        if outputs is None:
            self.head.weight = self.tokens.weight

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x[:, -1]))


class Recurrent(nn.Module):
    """A GRU or an LSTM over signals (n, T, d), and a linear readout of its last state."""

    def __init__(self, kind: str, inputs: int, width: int, layers: int, outputs: int):
        super().__init__()
        self.cell = getattr(nn, kind)(inputs, width, layers, batch_first=True)
        self.readout = nn.Linear(width, outputs)

    def forward(self, x):
        return self.readout(self.cell(x)[0][:, -1])


def mlp(inputs: int = 6, widths=(8, 7), outputs: int = 3, **how):
    """An MLP with biases and LayerNorm."""
    return made(MLP, inputs, widths, outputs, **how)


def resnet(channels=(4, 6), blocks: int = 1, outputs: int = 3, **how):
    """A small ResNet for images of any size, with in-place ReLU, and BatchNorm in evaluation mode."""
    return made(ResNet, channels, blocks, outputs, **how)


def resnet18(outputs: int = 10, **how):
    """ResNet-18 as used on CIFAR-10: 11.2 million parameters, 0.56 billion multiplications for a 32 x 32 image."""
    return resnet((64, 128, 256, 512), 2, outputs, **how)


def transformer(
    *, vocabulary=11, positions=5, width=8, heads=2, layers=2, outputs: int | None = None, dtype=torch.float64, seed=0
):
    """A causal transformer on tokens; outputs=None ties its head to its embedding."""
    return made(Transformer, vocabulary, positions, width, heads, layers, outputs, dtype=dtype, seed=seed)


def recurrent(kind: str = "LSTM", inputs: int = 3, width: int = 6, layers: int = 2, outputs: int = 2, **how):
    """A classifier of signals by nn.LSTM or nn.GRU."""
    return made(Recurrent, kind, inputs, width, layers, outputs, **how)


def made(network, *sizes, dtype=torch.float64, seed: int = 0):
    """The network in evaluation mode, its one-dimensional parameters and statistics drawn as well."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = network(*sizes).to(dtype).eval()
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                if name.endswith("running_var"):
                    tensor.uniform_(0.5, 2)
                elif tensor.ndim == 1 and tensor.is_floating_point():
                    tensor.add_(0.2 * torch.randn_like(tensor))
    return module


def signals(n: int = 6, *shape: int, dtype=torch.float64, seed: int = 1):
    """Standard normal points of this shape."""
    return torch.randn(n, *shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def tokens(n: int = 6, positions: int = 5, vocabulary: int = 11, seed: int = 1):
    """Random whole numbers below the size of the vocabulary."""
    return torch.randint(vocabulary, (n, positions), generator=torch.Generator().manual_seed(seed))
