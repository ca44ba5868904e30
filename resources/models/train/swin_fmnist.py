"""A small Swin transformer for 28 x 28 pictures, after Liu et al., "Swin Transformer" (2021).

Two stages of two blocks: 14 x 14 tokens in four windows of 7 x 7, the second block shifted; then patch
merging to 7 x 7 tokens, one window, where nothing can be shifted. Activations are [N, H, W, C]. Sizes are
plain integers known when the module is built, so that only the batch is symbolic in the exported graph.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .delivery import main
from .training import Schedule

_MASKED = -100.0
"""Added to the attention score of two tokens that were not neighbours before the roll."""


@dataclass(frozen=True)
class WindowGrid:
    """How a map of ``size`` x ``size`` tokens divides into square windows."""

    size: int
    window: int

    @property
    def count(self) -> int:
        """Windows along one side."""
        return self.size // self.window

    def partition(self, x: Tensor, channels: int) -> Tensor:
        """Cut [N, size, size, C] into [N * windows, window * window, C], windows in row order."""
        x = x.reshape(-1, self.count, self.window, self.count, self.window, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.window * self.window, channels)

    def reverse(self, windows: Tensor, channels: int) -> Tensor:
        """Undo :meth:`partition`."""
        x = windows.reshape(-1, self.count, self.count, self.window, self.window, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.size, self.size, channels)


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of tokens in a window: int64 [window^2, window^2]."""
    steps = torch.arange(window)
    positions = torch.stack(torch.meshgrid(steps, steps, indexing="ij")).flatten(1)
    offsets = positions[:, :, None] - positions[:, None, :] + window - 1
    return offsets[0] * (2 * window - 1) + offsets[1]


def shift_mask(grid: WindowGrid, shift: int) -> Tensor:
    """What to add to each window's scores after a roll by ``shift``: [windows, 1, window^2, window^2]."""
    bands = torch.zeros(grid.size, dtype=torch.int64)
    bands[grid.size - grid.window :] = 1
    bands[grid.size - shift :] = 2
    regions = bands[:, None] * 3 + bands[None, :]
    windows = grid.partition(regions[None, :, :, None], channels=1)[:, :, 0]
    strangers = windows[:, None, :] != windows[:, :, None]
    return (strangers * _MASKED)[:, None]


class WindowAttention(nn.Module):
    """Multi-head self-attention within a window, with a learned bias per relative position."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.channels, self.heads, self.tokens = channels, heads, window * window
        self.head_channels = channels // heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window).flatten())

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``x`` [N * windows, tokens, C]; ``mask`` [windows, 1, tokens, tokens] or None."""
        qkv = self.qkv(x).reshape(-1, self.tokens, 3, self.heads, self.head_channels)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * self.head_channels**-0.5) @ k.transpose(-2, -1)
        bias = self.relative_position_bias_table[self.relative_position_index]
        scores = scores + bias.reshape(self.tokens, self.tokens, self.heads).permute(2, 0, 1)
        if mask is not None:
            by_window = scores.reshape(-1, mask.shape[0], self.heads, self.tokens, self.tokens)
            scores = (by_window + mask).reshape(-1, self.heads, self.tokens, self.tokens)
        attended = functional.softmax(scores, dim=-1) @ v
        return self.proj(attended.transpose(1, 2).reshape(-1, self.tokens, self.channels))


class Mlp(nn.Module):
    """Two linear layers around an exact (erf) GELU."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [..., C]."""
        return self.fc2(self.act(self.fc1(x)))


class SwinBlock(nn.Module):
    """Pre-norm attention over windows, shifted or not, then an MLP; both residual."""

    mask: Tensor | None

    def __init__(self, channels: int, heads: int, grid: WindowGrid, shift: int, mlp_ratio: int) -> None:
        super().__init__()
        self.channels, self.grid, self.shift = channels, grid, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, grid.window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, mlp_ratio * channels)
        self.register_buffer("mask", shift_mask(grid, shift) if shift else None)

    def _attend(self, x: Tensor) -> Tensor:
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        windows = self.attn(self.grid.partition(x, self.channels), self.mask)
        x = self.grid.reverse(windows, self.channels)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, size, size, C]."""
        x = x + self._attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """Patches of pixels to tokens: [N, 1, H, W] to [N, H / 2, W / 2, C].

    Neighbouring patches overlap: 4 x 4 pixels at stride 2, which learns faster from small pictures.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, channels, kernel_size=4, stride=2, padding=1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, 1, H, W]."""
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """Each 2 x 2 neighbourhood of tokens to one of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, H, W, C] to [N, H / 2, W / 2, 2 * C]."""
        corners = [x[:, row::2, column::2, :] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class Stage(nn.Module):
    """Optional patch merging, then blocks; every second one is shifted if there is more than one window."""

    def __init__(
        self, channels: int, heads: int, grid: WindowGrid, depth: int, mlp_ratio: int, merges: bool
    ) -> None:
        super().__init__()
        self.downsample = PatchMerging(channels // 2) if merges else nn.Identity()
        shifts = [grid.window // 2 if index % 2 and grid.count > 1 else 0 for index in range(depth)]
        self.blocks = nn.ModuleList([SwinBlock(channels, heads, grid, shift, mlp_ratio) for shift in shifts])

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, size, size, C], or twice that size and half the channels where the stage merges."""
        x = self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x


class SwinFmnist(nn.Module):
    """[N, 1, 28, 28] to logits [N, 10]."""

    def __init__(self, channels: int = 48, mlp_ratio: int = 2) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(channels)
        self.layers = nn.ModuleList(
            [
                Stage(channels, 3, WindowGrid(size=14, window=7), depth=2, mlp_ratio=mlp_ratio, merges=False),
                Stage(
                    2 * channels, 6, WindowGrid(size=7, window=7), depth=2, mlp_ratio=mlp_ratio, merges=True
                ),
            ]
        )
        self.norm = nn.LayerNorm(2 * channels)
        self.head = nn.Linear(2 * channels, 10)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """``image`` [N, 1, 28, 28], normalised."""
        x = self.patch_embed(image)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(dim=(1, 2)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


SCHEDULE = Schedule(epochs=9, cycles=2, peak_learning_rate=2e-3, weight_decay=0.05, seed=20, bfloat16=True)

if __name__ == "__main__":
    main("swin_fmnist", SwinFmnist, SCHEDULE)
