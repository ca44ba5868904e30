"""Elementwise operators: unary functions (evaluated by table on the chip), binary arithmetic, comparison, selection."""

from __future__ import annotations

from dataclasses import dataclass

from engine.ops.base import Op


@dataclass(frozen=True)
class Elementwise(Op):
    """Base of operators whose output element depends only on the input elements at the same (broadcast) place."""


@dataclass(frozen=True)
class Unary(Elementwise):
    """Base of elementwise functions of one tensor: on the chip, one table look-up."""


@dataclass(frozen=True)
class Relu(Unary):
    """max(x, 0)."""


@dataclass(frozen=True)
class Clip(Unary):
    """min(max(x, low), high); a missing bound is an infinity. ReLU6 is Clip(0, 6)."""

    low: float
    high: float


@dataclass(frozen=True)
class LeakyRelu(Unary):
    """x if x >= 0 else alpha * x."""

    alpha: float = 0.01


@dataclass(frozen=True)
class Elu(Unary):
    """x if x > 0 else alpha * (exp(x) - 1)."""

    alpha: float = 1.0


@dataclass(frozen=True)
class Celu(Unary):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""

    alpha: float = 1.0


@dataclass(frozen=True)
class Selu(Unary):
    """gamma * (x if x > 0 else alpha * (exp(x) - 1))."""

    alpha: float = 1.6732632423543772
    gamma: float = 1.0507009873554805


@dataclass(frozen=True)
class ThresholdedRelu(Unary):
    """x if x > alpha else 0."""

    alpha: float = 1.0


@dataclass(frozen=True)
class HardSigmoid(Unary):
    """clip(alpha * x + beta, 0, 1)."""

    alpha: float = 0.2
    beta: float = 0.5


@dataclass(frozen=True)
class HardSwish(Unary):
    """x * clip(x / 6 + 1/2, 0, 1)."""


@dataclass(frozen=True)
class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""


@dataclass(frozen=True)
class Silu(Unary):
    """x * sigmoid(alpha * x)."""

    alpha: float = 1.0


@dataclass(frozen=True)
class Gelu(Unary):
    """x * Phi(x), exact (erf) or by the tanh approximation."""

    approximate: bool = False


@dataclass(frozen=True)
class Mish(Unary):
    """x * tanh(softplus(x))."""


@dataclass(frozen=True)
class Softplus(Unary):
    """log(1 + exp(x))."""


@dataclass(frozen=True)
class Softsign(Unary):
    """x / (1 + |x|)."""


@dataclass(frozen=True)
class Tanh(Unary):
    """tanh(x)."""


@dataclass(frozen=True)
class Erf(Unary):
    """The error function."""


@dataclass(frozen=True)
class Exp(Unary):
    """e ** x."""


@dataclass(frozen=True)
class Log(Unary):
    """Natural logarithm."""


@dataclass(frozen=True)
class Sqrt(Unary):
    """Square root."""


@dataclass(frozen=True)
class Reciprocal(Unary):
    """1 / x."""


@dataclass(frozen=True)
class Neg(Unary):
    """-x."""


@dataclass(frozen=True)
class Abs(Unary):
    """|x|."""


@dataclass(frozen=True)
class Sign(Unary):
    """-1, 0 or 1."""


@dataclass(frozen=True)
class Floor(Unary):
    """Largest integer not above x."""


@dataclass(frozen=True)
class Ceil(Unary):
    """Smallest integer not below x."""


@dataclass(frozen=True)
class Round(Unary):
    """Nearest integer, ties to even."""


@dataclass(frozen=True)
class Sin(Unary):
    """sin(x)."""


@dataclass(frozen=True)
class Cos(Unary):
    """cos(x)."""


@dataclass(frozen=True)
class Tan(Unary):
    """tan(x)."""


@dataclass(frozen=True)
class Asin(Unary):
    """Arcsine."""


@dataclass(frozen=True)
class Acos(Unary):
    """Arccosine."""


@dataclass(frozen=True)
class Atan(Unary):
    """Arctangent."""


@dataclass(frozen=True)
class Sinh(Unary):
    """Hyperbolic sine."""


@dataclass(frozen=True)
class Cosh(Unary):
    """Hyperbolic cosine."""


@dataclass(frozen=True)
class Asinh(Unary):
    """Inverse hyperbolic sine."""


@dataclass(frozen=True)
class Acosh(Unary):
    """Inverse hyperbolic cosine."""


@dataclass(frozen=True)
class Atanh(Unary):
    """Inverse hyperbolic tangent."""


@dataclass(frozen=True)
class Shrink(Unary):
    """x + bias if x < -threshold, x - bias if x > threshold, else 0."""

    bias: float = 0.0
    threshold: float = 0.5


@dataclass(frozen=True)
class ModScalar(Unary):
    """Remainder of x by a constant, with the sign of x (C's fmod)."""

    divisor: float

    @property
    def type_name(self) -> str:
        return "Mod"


@dataclass(frozen=True)
class Affine(Unary):
    """multiplier * x + offset: arithmetic with scalar constants (Add, Sub, Mul, Div by a constant) in one node.

    ``spelling`` keeps the source operator's name (``Mul``, ``Div``, ...), which is what the user sees.
    """

    multiplier: float
    offset: float
    spelling: str = "Mul"

    @property
    def type_name(self) -> str:
        return self.spelling


@dataclass(frozen=True)
class PowScalar(Unary):
    """x ** exponent with a constant exponent."""

    exponent: float

    @property
    def type_name(self) -> str:
        return "Pow"


@dataclass(frozen=True)
class PowOf(Unary):
    """base ** x with a constant, positive base."""

    base: float

    @property
    def type_name(self) -> str:
        return "Pow"


@dataclass(frozen=True)
class DivInto(Unary):
    """numerator / x with a constant numerator."""

    numerator: float

    @property
    def type_name(self) -> str:
        return "Div"


@dataclass(frozen=True)
class Binary(Elementwise):
    """Base of elementwise operators of two tensors with numpy broadcasting. Either input may be a constant."""


@dataclass(frozen=True)
class Add(Binary):
    """a + b."""


@dataclass(frozen=True)
class Sub(Binary):
    """a - b."""


@dataclass(frozen=True)
class Mul(Binary):
    """a * b."""


@dataclass(frozen=True)
class Div(Binary):
    """a / b."""


@dataclass(frozen=True)
class Pow(Binary):
    """a ** b."""


@dataclass(frozen=True)
class Mod(Binary):
    """Remainder of a by b: with the sign of a (``truncated``, C's fmod), else with that of b."""

    truncated: bool = False


@dataclass(frozen=True)
class Minimum(Binary):
    """min(a, b)."""

    @property
    def type_name(self) -> str:
        return "Min"


@dataclass(frozen=True)
class Maximum(Binary):
    """max(a, b)."""

    @property
    def type_name(self) -> str:
        return "Max"


@dataclass(frozen=True)
class PRelu(Binary):
    """x if x >= 0 else slope * x."""


@dataclass(frozen=True)
class Where(Elementwise):
    """a where condition else b; inputs (condition, a, b)."""
