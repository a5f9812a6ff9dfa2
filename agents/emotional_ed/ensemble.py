"""B small networks side by side: one matrix product for all, nothing shared between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

Parameters = list[Tensor]
"""Weights and biases of three layers, in turn: `[B, in, out]` and `[B, 1, out]`."""

ADAM_DECAY = (0.9, 0.999)
ADAM_EPSILON = 1e-8
TINY = 1e-30
"""Added before square roots: those of 0 and of denormal numbers take thirty times as long."""


def initial_parameters(seeds: Sequence[int], inputs: int, width: int, outputs: int) -> Parameters:
    """Weights of B networks with two hidden layers.

    Args:
        seeds: Seed of each network.
        inputs: Inputs, >= 1.
        width: Units of each hidden layer, >= 1.
        outputs: Outputs, >= 1.

    Returns:
        Float32, uniform in +-1 / sqrt(inputs of the layer), as PyTorch's linear layers are.
    """
    sizes = [inputs, width, width, outputs]
    generators = [np.random.default_rng(seed) for seed in seeds]
    parameters = []
    for fan_in, fan_out in pairwise(sizes):
        bound = fan_in**-0.5
        for shape in ((fan_in, fan_out), (1, fan_out)):
            drawn = np.stack([generator.uniform(-bound, bound, shape) for generator in generators])
            parameters.append(torch.from_numpy(drawn).float())
    return parameters


def forward(parameters: Parameters, columns: Tensor, extra: Tensor | None = None) -> Tensor:
    """Outputs of B networks for one-hot inputs.

    Args:
        parameters: Of the networks.
        columns: `[B, n, F]` int64, the inputs that are 1; all other one-hot inputs are 0.
        extra: `[B, n, E]` float32, the last E inputs, if they are not one-hot.

    Returns:
        `[B, n, outputs]`.
    """
    first, first_bias, second, second_bias, third, third_bias = parameters
    networks, inputs, _ = first.shape
    given = torch.zeros(networks, columns.shape[1], inputs).scatter_(2, columns, 1.0)
    if extra is not None:
        given[:, :, inputs - extra.shape[2] :] = extra
    hidden = torch.relu(torch.baddbmm(first_bias, given, first))  # [B, n, width]
    hidden = torch.relu(torch.baddbmm(second_bias, hidden, second))
    return torch.baddbmm(third_bias, hidden, third)


def of_rows(parameters: Parameters, rows: np.ndarray) -> Parameters:
    """The parameters of some networks; the very same tensors if they are all.

    Args:
        parameters: Of B networks.
        rows: `[R]` int, ascending.
    """
    if len(rows) == len(parameters[0]):
        return parameters
    return [parameter[torch.from_numpy(rows)] for parameter in parameters]


class RowAdam:
    """Adam for B networks, each with a number of steps of its own.

    Args:
        parameters: Changed in place.
        learning_rate: Step size, > 0, one or `[B]`.

    Source: Kingma & Ba 2015, algorithm 1.
    """

    def __init__(self, parameters: Parameters, learning_rate: float | np.ndarray) -> None:
        self.parameters = parameters
        self._first = [torch.zeros_like(parameter) for parameter in parameters]
        self._second = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = np.zeros(len(parameters[0]))
        self.learning_rate = np.broadcast_to(np.asarray(learning_rate, float), self._steps.shape)

    def step(self, rows: np.ndarray, gradients: Sequence[Tensor]) -> None:
        """One step of some networks.

        Args:
            rows: `[R]` int, ascending.
            gradients: `[R, ...]`, one for each parameter.
        """
        self._steps[rows] += 1
        first_decay, second_decay = ADAM_DECAY
        corrected = torch.from_numpy(1.0 - second_decay ** self._steps[rows]).float().sqrt()
        size = torch.from_numpy(self.learning_rate[rows] / (1.0 - first_decay ** self._steps[rows]))
        size = (size.float() * corrected)[:, None, None]
        epsilon = (ADAM_EPSILON * corrected)[:, None, None]
        every = len(rows) == len(self._steps)
        where = torch.from_numpy(rows)
        for parameter, first, second, gradient in zip(
            self.parameters, self._first, self._second, gradients, strict=True
        ):
            mean = first if every else first[where]
            square = second if every else second[where]
            mean.lerp_(gradient, 1.0 - first_decay)
            square.mul_(second_decay).addcmul_(gradient, gradient, value=1.0 - second_decay)
            change = (mean * size).div_(square.add(TINY).sqrt_().add_(epsilon))
            if every:
                parameter.sub_(change)
            else:
                first[where], second[where] = mean, square
                parameter[where] -= change
