"""Products of the decoder's layers in inference: prepared once, applied to many queries.

On a CPU, oneDNN multiplies: torch's own product there is MKL's, which is slow on processors that
are not Intel's, and oneDNN applies the following ReLU before a result leaves the registers.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import BFloat16, Float
from torch import Tensor, nn
from torch.nn import functional as F

from liif.network.precision import Used

DTYPES: dict[Used, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}
"""Types of the numbers that are multiplied."""
_COPIES = 5
"""Copies of the last layer in bfloat16; they are free, since oneDNN computes 16 columns at once."""
_SPACING = 2**-8
"""Distance of neighbouring bfloat16 numbers from 0.5 to 1."""


class Product:
    """x ↦ x·Wᵀ + b, or its ReLU, for rows x of one type."""

    def __init__(
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, *, rows: int, relu: bool
    ) -> None:
        self._weight, self._relu = weight.to(dtype), relu
        self._packed = None
        if is_fused(weight.device, dtype):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight, rows)
        self.bias = bias.to(dtype if self._packed is None else torch.float32)

    def __call__(self, x: Float[Tensor, "n d"], bias: Tensor | None = None) -> Tensor:
        """The product with its own or with another bias."""
        bias = self.bias if bias is None else bias
        if self._packed is None:
            y = F.linear(x, self._weight, bias)
            return y.relu_() if self._relu else y
        activation = "relu" if self._relu else "none"
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, bias, activation, [], ""
        )
        return fused

    def biases(self, shifts: Float[Tensor, "*r d"]) -> Float[Tensor, "*r k"]:
        """The biases for inputs that are larger by these shifts, with the same results."""
        return self.bias - F.linear(shifts, self._weight.float())


class Tail:
    """Everything after the first linear layer, prepared for tiles of that many rows.

    In bfloat16, weights and inputs of the products are rounded; their sums are in float32. The last
    layer has several copies, since rounding RGB to the 8 bits of bfloat16 would show: they differ
    by how their weights are rounded and by fractions of a rounding step, so that the mean of their
    rounded results is several times as exact.
    """

    def __init__(self, linears: list[nn.Linear], dtype: torch.dtype, rows: int) -> None:
        *hidden, last = linears
        self.dtype, self.exact_biases = dtype, is_fused(last.weight.device, dtype)
        self._copies = 1 if dtype == torch.float32 else _COPIES
        weights = _roundings(last.weight, self._copies, dtype)
        biases = [last.bias + i * _SPACING / self._copies for i in range(self._copies)]
        end = Product(torch.cat(weights), torch.cat(biases), dtype, rows=rows, relu=False)
        self._offset = end.bias.float().view(self._copies, -1).mean(dim=0) - last.bias
        self._products = [
            *(Product(i.weight, i.bias, dtype, rows=rows, relu=True) for i in hidden),
            end,
        ]

    def __call__(self, x: Float[Tensor, "n d"], bias: Tensor | None = None) -> Tensor:
        """From the rectified results of the first layer to those of the copies of the last.

        `bias` replaces the first product's.
        """
        for product in self._products:
            x, bias = product(x, bias), None
        return x

    def rgb(self, copies: Float[Tensor, "*q k"]) -> Float[Tensor, "*q 3"]:
        """Mean of the copies, in float32."""
        if self._copies == 1:
            return copies
        mean: Tensor = copies.float().unflatten(-1, (self._copies, -1)).mean(dim=-2)
        return mean - self._offset

    def biases(self, shifts: Float[Tensor, "*r d"]) -> Float[Tensor, "*r k"]:
        """The first product's biases for inputs that are larger by these shifts."""
        return self._products[0].biases(shifts)


def rest(
    first: Float[Tensor, "n d"], linears: list[nn.Linear], dtype: torch.dtype
) -> Float[Tensor, "n 3"]:
    """Everything after the first linear layer, differentiable; on a CPU; overwrites its argument.

    In bfloat16, the weights and inputs of products are rounded; their sums, and the last layer,
    are in float32.
    """
    parameters = (p for linear in linears for p in (linear.weight, linear.bias))
    result: Tensor = _Rest.apply(first, dtype, *parameters)  # type: ignore[no-untyped-call]
    return result


class _Rest(torch.autograd.Function):
    """Both passes without autograd's copies between the layers."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, dtype: torch.dtype, *parameters: Tensor) -> Tensor:
        *hidden, (weight, bias) = zip(parameters[::2], parameters[1::2], strict=True)
        inputs = [first.relu_().to(dtype)]
        for w, b in hidden:
            layer = Product(w, b, dtype, rows=len(first), relu=True)
            inputs.append(layer(inputs[-1]))
        ctx.save_for_backward(*inputs, *parameters[::2])
        last = Product(weight, bias, torch.float32, rows=len(first), relu=False)
        return last(inputs[-1].float())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        g, saved = gradients[0], ctx.saved_tensors
        inputs, weights = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        of_parameters: list[Tensor] = []
        for x, weight in zip(reversed(inputs), reversed(weights), strict=True):
            if x.dtype == torch.float32:
                g, of_weight, of_bias = _convolution_backward(g, x, weight)
            else:  # as plain products, which oneDNN multiplies twice as fast
                low = g.to(x.dtype)
                of_weight, of_bias = (low.t() @ x).float(), g.sum(dim=0, dtype=torch.float32)
                g = low @ weight.to(x.dtype)
            of_parameters += [of_bias, of_weight]
            g = torch.ops.aten.threshold_backward(g, x, 0)
        return g.float(), None, *reversed(of_parameters)


def _convolution_backward(g: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a linear layer's input, weight and bias, as of a 1×1 convolution.

    Plain products would sum in another order, and float32's results are kept to the last bit.
    """
    pixels = [t.view(1, 1, *t.shape).permute(0, 3, 1, 2) for t in (g, x)]
    sides = [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    of_input, of_weight, of_bias = torch.ops.aten.convolution_backward(
        *pixels, weight[:, :, None, None], [len(weight)], *sides, [True, True, True]
    )
    return of_input.permute(0, 2, 3, 1).reshape(x.shape), of_weight.flatten(1), of_bias


def is_fused(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies numbers of this type on the device; exports have plain products."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if torch.compiler.is_exporting():
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def at_least(
    x: BFloat16[Tensor, "*n d"], floor: BFloat16[Tensor, " d"]
) -> BFloat16[Tensor, "*n d"]:
    """The larger of x and a floor that is not negative.

    If one of two numbers is not negative, they compare as their bits do: torch compares integers
    six times as fast as it compares bfloat16.
    """
    return torch.maximum(x.view(torch.int16), floor.view(torch.int16)).view(torch.bfloat16)


def _roundings(exact: Tensor, count: int, dtype: torch.dtype) -> list[Tensor]:
    """Different roundings of numbers, whose mean is close to them."""
    rounded: list[Tensor] = []
    for i in range(count):
        rest = exact * (i + 1) - sum(rounded)  # what is left after the errors so far
        rounded.append(rest.to(dtype).to(exact.dtype))
    return rounded
