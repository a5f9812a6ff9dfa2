"""Linear maps laid out once as the CPU's matrix unit reads them, and several of them as one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS_HINT = 64
"""Rows that the layout is chosen for; it is the same for all from 8 to some thousands."""
SLOW_ROWS = (17, 32)
"""Numbers of rows, from and to, that oneDNN cuts into pieces worse than one row more than these."""


class PackedLinear(nn.Module):
    """One or several frozen linear maps of the same input, in bfloat16 and oneDNN's own layout.

    oneDNN lays a plain weight out anew at every call, which for the few rows of a decode takes
    about as long as the product itself. Here that is done once, and the plain weight is given up,
    so that nothing is held twice. Where a gradient of the input is wanted, the plain weight is laid
    out again.

    Source: our own; `torch.compile` freezes linear maps into the same operations.
    """

    def __init__(self, *linears: nn.Linear) -> None:
        """Lays out a copy of the weights, one below the other.

        Args:
            linears: The maps; `can_pack` must be true of them.
        """
        super().__init__()
        weight, self.bias = _joined(linears)
        self.out_features, self.in_features = weight.shape
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS_HINT)
        self._last: tuple[Tensor, Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        """The plain weight `[out, in]`, a copy."""
        return self._packed.to_dense()

    def forward(self, x: Tensor) -> Tensor:
        """The maps of `[..., in]` to `[..., out]`."""
        if x.requires_grad and torch.is_grad_enabled():
            return F.linear(x, self.weight, self.bias)  # oneDNN's product has no gradient
        rows = x.numel() // self.in_features
        padded = x
        if (more := fast_rows(rows, x) - rows) > 0:
            padded = F.pad(x.reshape(rows, -1), (0, 0, 0, more))
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            padded, self._packed, self.bias, "none", [], ""
        )
        return y if padded is x else y[:rows].view(*x.shape[:-1], self.out_features)

    def part(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Some columns of the maps of x; asked for in order, they are computed once."""
        if self._last is None or self._last[0] is not x:
            self._last = x, self(x)
        y = self._last[1][..., start:stop]
        if stop == self.out_features:
            self._last = None
        return y

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)


class PackedPart(nn.Module):
    """What stands in a model for one of the maps of a `PackedLinear`."""

    def __init__(self, whole: PackedLinear, start: int, stop: int) -> None:
        """Remembers its columns, from `start` up to `stop`."""
        super().__init__()
        self.columns = start, stop
        self._whole = (whole,)  # no module of this one, whose weights would be counted again

    @property
    def whole(self) -> PackedLinear:
        """All maps of the same input."""
        return self._whole[0]

    @property
    def weight(self) -> Tensor:
        """The plain weight `[out, in]`, a copy."""
        return self.whole.weight[slice(*self.columns)]

    def forward(self, x: Tensor) -> Tensor:
        """The map of `[..., in]` to `[..., out]`."""
        return self.whole.part(x, *self.columns)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.weight.clone()
        if self.whole.bias is not None:
            destination[prefix + "bias"] = self.whole.bias[slice(*self.columns)].detach()


def fast_rows(rows: int, like: Tensor) -> int:
    """The same number of rows, or a few more if packed products of tensors like this are faster."""
    slow = SLOW_ROWS[0] <= rows <= SLOW_ROWS[1]
    return SLOW_ROWS[1] + 1 if slow and _gains(like) else rows


def can_pack(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is a plain linear map that gains from another layout on this machine."""
    return (
        type(module) is nn.Linear
        and _gains(module.weight)
        and not (module._forward_hooks or module._forward_pre_hooks)
    )


def _gains(tensor: Tensor) -> bool:
    """Whether products of tensors like this gain from another layout on this machine."""
    return (
        tensor.dtype == torch.bfloat16
        and tensor.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def pack_linears(model: nn.Module) -> None:
    """Replaces every linear map in a model by a packed one, where that is possible."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if can_pack(child):
                setattr(parent, name, PackedLinear(child))


def join_linears(parent: nn.Module, *names: str) -> Callable[[Tensor], Tensor]:
    """Several linear maps of the same input as one, packed where that is possible.

    The maps in `parent` become parts of the joined one, so that nothing is held twice and the
    model works as before.

    Args:
        parent: The module that has them.
        names: Their names in it, in the order in which they are called.

    Returns:
        Maps `[..., in]` to `[..., out]`, their outputs side by side.
    """
    parts: list[Any] = [getattr(parent, name) for name in names]
    if isinstance(parts[0], PackedPart):
        return parts[0].whole
    stops = torch.tensor([part.out_features for part in parts]).cumsum(0).tolist()
    columns = list(zip([0, *stops[:-1]], stops, strict=True))
    if all(can_pack(part) for part in parts):
        whole = PackedLinear(*parts)
        for name, (start, stop) in zip(names, columns, strict=True):
            setattr(parent, name, PackedPart(whole, start, stop))
        return whole
    weight, bias = _joined(parts)
    for part, (start, stop) in zip(parts, columns, strict=True):
        part.weight = nn.Parameter(weight[start:stop], requires_grad=False)
        if bias is not None:
            part.bias = nn.Parameter(bias[start:stop], requires_grad=False)
    return partial(F.linear, weight=weight, bias=bias)


def _joined(linears: Any) -> tuple[Tensor, Tensor | None]:
    """Weights and biases of linear maps that all have a bias, or none of which has one."""
    if len(linears) == 1:
        return linears[0].weight, linears[0].bias
    biases: list[Tensor] = [linear.bias for linear in linears if linear.bias is not None]
    return (
        torch.cat([linear.weight for linear in linears]),
        torch.cat(biases) if biases else None,
    )
