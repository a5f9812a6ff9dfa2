"""Distributional deep Q-learning, which may look at the worst outcomes only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erm_gym.agents.emotional_ed.deep_q import DeepQConfig, DeepQLearner
from erm_gym.agents.emotional_ed.ensemble import Parameters
from erm_gym.agents.emotional_ed.replay import Batch
from erm_gym.agents.hyperparameters import AgentError

HUBER = 1.0
"""Error at which the quantile loss turns from square to linear."""


@dataclass(frozen=True, kw_only=True)
class QuantileConfig(DeepQConfig):
    """Hyperparameters of a distributional deep Q-learner."""

    quantiles: int = 21
    """Quantiles N of the return that are learned of each action."""
    risk: float | np.ndarray = 1.0
    """Share of the worst outcomes by whose mean actions are chosen, in (0, 1]; 1 is the mean. An
    array `[B]` gives each row its own."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            AgentError: It names the field, its value and what is allowed.
        """
        super().__post_init__()
        risk = np.asarray(self.risk)
        if not ((risk > 0.0) & (risk <= 1.0)).all():
            raise AgentError(f"risk must be in (0, 1], got {self.risk}")


class QuantileQLearner(DeepQLearner):
    """QR-DQN in B rows: networks learn N quantiles of each action's return.

    Actions are chosen by their conditional value at risk, both when acting and in the targets: what
    is learned is the return of the policy that is followed. Channels may change the risk level, row
    by row and step by step; the level of a later state is remembered as it was there.

    Arguments as for `DeepQLearner`, `config` a `QuantileConfig`.

    Source: Dabney et al. 2018, "Distributional reinforcement learning with quantile regression",
    algorithm 1; the risk level as in "Implicit quantile networks", section 3.
    """

    config: QuantileConfig

    def _outputs(self) -> int:
        return self.num_actions * self.config.quantiles

    def _expected(self, outputs: Tensor, risk: Tensor) -> Tensor:
        shape = (*outputs.shape[:-1], self.num_actions, self.config.quantiles)
        return conditional_value_at_risk(outputs.reshape(shape), risk[..., None])

    def _risk(self) -> np.ndarray:
        risk = np.full(len(self._rows), self.config.risk, float)
        for channel in self.channels:
            for influence in channel.influences:
                risk = influence.risk(risk, channel.level)
        return risk

    def _losses(self, leaves: Parameters, rows: np.ndarray, batch: Batch) -> tuple[Tensor, Tensor]:
        count = self.config.quantiles
        shape = (*batch.action.shape, self.num_actions, count)
        after = self.target[torch.from_numpy(rows)[:, None], batch.after]  # [R, n, A N]
        best = self._expected(after, torch.from_numpy(batch.risk)).argmax(dim=2)  # [R, n]
        wanted = self._targets(batch, _of_action(after.reshape(shape), best))  # [R, n, N]
        outputs = self._forward(leaves, batch.state).reshape(shape)
        taken = _of_action(outputs, torch.from_numpy(batch.action))  # [R, n, N]
        errors = (wanted.mean(dim=2) - taken.mean(dim=2)).detach()
        slope = quantile_huber_slope(taken.detach(), wanted)
        return errors, (slope * taken).sum(dim=2)  # its gradient is the quantile loss's


def conditional_value_at_risk(quantiles: Tensor, risk: Tensor) -> Tensor:
    """The mean of the worst outcomes.

    Args:
        quantiles: `[..., N]`, equally likely outcomes, in any order.
        risk: `[...]`, share of the outcomes that count, in (0, 1]; where it falls between two, the
            next one counts in part.

    Returns:
        `[...]`.
    """
    count = quantiles.shape[-1]
    counted = (risk * count)[..., None]
    weights = (counted - torch.arange(count)).clamp(0.0, 1.0) / counted
    weighted: Tensor = (quantiles.sort(dim=-1).values * weights).sum(dim=-1)
    return weighted


def quantile_huber_slope(quantiles: Tensor, outcomes: Tensor) -> Tensor:
    """The gradient of the quantile Huber loss of N quantiles against N' outcomes, all pairs.

    The loss is the sum over quantiles of the mean over outcomes. Its gradient by hand costs a third
    of what automatic differentiation of all pairs does.

    Args:
        quantiles: `[..., N]`, of the fractions `(i + .5) / N`.
        outcomes: `[..., N']`.

    Returns:
        `[..., N]`.

    Source: Dabney et al. 2018, equation 10.
    """
    count = quantiles.shape[-1]
    fractions = ((torch.arange(count) + 0.5) / count)[:, None]
    with torch.no_grad():
        errors = outcomes[..., None, :] - quantiles[..., :, None]  # [..., N, N']
        weights = torch.where(errors < 0.0, 1.0 - fractions, fractions)
        slope: Tensor = -(errors.clamp_(-HUBER, HUBER).mul_(weights) / HUBER).mean(dim=-1)
    return slope


def _of_action(outputs: Tensor, action: Tensor) -> Tensor:
    """Quantiles `[R, n, N]` of the actions `[R, n]`, of outputs `[R, n, A, N]`."""
    chosen = action[:, :, None, None].expand(-1, -1, 1, outputs.shape[3])
    return outputs.gather(2, chosen)[:, :, 0]
