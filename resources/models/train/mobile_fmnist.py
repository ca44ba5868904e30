"""A depthwise-separable CNN for 28 x 28 pictures: inverted residuals, ReLU6, squeeze-and-excitation."""

from torch import Tensor, nn

from .delivery import main
from .training import Schedule


class ConvNormAct(nn.Sequential):
    """Convolution, batch normalisation and, unless ``activated`` is False, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activated: bool = True
    ) -> None:
        super().__init__()
        self.add_module(
            "conv", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        )
        self.add_module("norm", nn.BatchNorm2d(outputs))
        if activated:
            self.add_module("act", nn.ReLU6())


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from all channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, C, H, W]."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.gate(self.expand(self.act(self.reduce(means))))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, gate, project; added to its input where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.is_residual = stride == 1 and inputs == outputs
        self.expand = ConvNormAct(inputs, hidden, kernel=1)
        self.depthwise = ConvNormAct(hidden, hidden, kernel=3, stride=stride, groups=hidden)
        self.se = SqueezeExcite(hidden, hidden // 8)
        self.project = ConvNormAct(hidden, outputs, kernel=1, activated=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, C, H, W]."""
        y = self.project(self.se(self.depthwise(self.expand(x))))
        return x + y if self.is_residual else y


class MobileFmnist(nn.Module):
    """[N, 1, 28, 28] to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormAct(1, 16, kernel=3)
        self.blocks = nn.ModuleList(
            [
                InvertedResidual(16, 32, expansion=2, stride=2),
                InvertedResidual(32, 32, expansion=3, stride=1),
                InvertedResidual(32, 32, expansion=3, stride=1),
                InvertedResidual(32, 64, expansion=3, stride=2),
                InvertedResidual(64, 64, expansion=3, stride=1),
                InvertedResidual(64, 64, expansion=3, stride=1),
            ]
        )
        self.features = ConvNormAct(64, 192, kernel=1)
        self.head = nn.Linear(192, 10)

    def forward(self, image: Tensor) -> Tensor:
        """``image`` [N, 1, 28, 28], normalised."""
        x = self.stem(image)
        for block in self.blocks:
            x = block(x)
        x = self.features(x)
        return self.head(x.mean(dim=(2, 3)))


SCHEDULE = Schedule(epochs=9, peak_learning_rate=3e-3, weight_decay=0.02, seed=20)

if __name__ == "__main__":
    main("mobile_fmnist", MobileFmnist, SCHEDULE)
