"""Deep Q-learning of many rows at once, with emotional channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from erm_gym.agents.emotional_ed.channel import Channel, Influence
from erm_gym.agents.emotional_ed.ensemble import (
    Parameters,
    RowAdam,
    forward,
    initial_parameters,
    of_rows,
)
from erm_gym.agents.emotional_ed.learner import ChannelLearner
from erm_gym.agents.emotional_ed.moments import Situation, Transition
from erm_gym.agents.emotional_ed.replay import Batch, Replay
from erm_gym.agents.hyperparameters import AgentError

NETWORK_SEED, REPLAY_SEED = 500_009, 700_001
"""Added to a row's seed, so that acting, first weights and replay have numbers of their own."""


@dataclass(frozen=True, kw_only=True)
class DeepQConfig:
    """Hyperparameters of a deep Q-learner; those of Emotional-ED's experiment 18 by default."""

    learning_rate: float | np.ndarray = 1e-3
    """Adam's step size; an array `[B]` gives each row its own."""
    discount: float = 0.99
    """In [0, 1]."""
    width: int = 64
    """Units of each of the two hidden layers."""
    buffer_size: int = 10_000
    """Steps that are remembered."""
    batch_size: int = 64
    """Steps of an update, at most 512; there is one update a step, as soon as as many are known."""
    target_every: int = 100
    """Steps after which the target network is copied."""
    epsilon_first: float = 1.0
    """Probability of a random action in the first episode."""
    epsilon_decay: float = 0.995
    """Its factor from one episode to the next."""
    epsilon_last: float = 0.05
    """The least that it becomes."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            AgentError: It names the field, its value and what is allowed.
        """
        for name in ("discount", "epsilon_first", "epsilon_decay", "epsilon_last"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise AgentError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not (np.asarray(self.learning_rate) > 0.0).all():
            raise AgentError(f"learning_rate must be above 0, got {self.learning_rate}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, int) and (not isinstance(value, int) or value < 1):
                raise AgentError(f"{field.name} must be an integer of at least 1, got {value!r}")
        if self.batch_size > 512:
            raise AgentError(f"batch_size must be at most 512, got {self.batch_size}")


class DeepQLearner(ChannelLearner):
    """Q-learning in B rows, each with networks, memory, random numbers and emotions of its own.

    Every factor of the observation is one-hot; a network with two hidden layers of ReLU units gives
    the action values. Each step of a row is one update, on a batch of what it remembers, of the
    squared temporal-difference errors against a target network.

    Channels act as on the tabular learner, with two differences that replay makes. A gain is a
    weight of the loss, from the level that was felt when the row acted; and the transitions that
    gains see have no context. Emotions act outside the networks: no gradient goes through them.

    Args:
        seeds: Seed of each of the B rows.
        sizes: Number of values of each factor of the observation; a state's number counts the last
            factor fastest.
        num_actions: Actions A.
        config: Hyperparameters.
        channels: Emotions and what they do; none for the plain learner.
        observed_levels: As for the base.

    Raises:
        AgentError: If an influence teaches about actions that were not taken.

    Attributes:
        parameters: Of the B networks.
        target: `[B, S, outputs]`, what the target networks give in every state: there are few, and
            looking up is cheaper than computing.

    Source: Mnih et al. 2015; Emotional-ED, experiment 18.
    """

    extra_inputs = 0
    """Inputs of the networks beside the one-hot ones."""

    def __init__(
        self,
        seeds: Sequence[int],
        sizes: Sequence[int],
        num_actions: int,
        config: DeepQConfig | None = None,
        channels: Sequence[Channel] = (),
        *,
        observed_levels: int = 1,
    ) -> None:
        self.config = config or DeepQConfig()
        states = int(np.prod(sizes))
        super().__init__(
            seeds, states, num_actions, channels, ties="random", observed_levels=observed_levels
        )
        if observed_levels > 1:
            sizes = [*sizes, *[observed_levels] * len(self.channels)]
        for channel in self.channels:
            for influence in channel.influences:
                if type(influence).lesson is not Influence.lesson:
                    raise AgentError(f"{type(influence).__name__} teaches a table; use a QLearner")
        self.num_actions = num_actions
        self._columns = one_hot_columns(sizes)
        self.parameters = initial_parameters(
            [seed + NETWORK_SEED for seed in seeds],
            sum(sizes) + self.extra_inputs,
            self.config.width,
            self._outputs(),
        )
        self.target = torch.zeros(len(seeds), len(self._columns), self._outputs())
        self._copy_target(self._rows)
        self._adam = RowAdam(self.parameters, self.config.learning_rate)
        self._replay = Replay(
            [seed + REPLAY_SEED for seed in seeds], self.config.buffer_size, len(self.channels)
        )
        self._episodes = np.zeros(len(seeds), np.int64)
        self._levels = np.zeros((len(seeds), len(self.channels)))

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Episodes begin where `rows` `[B]` bool is set."""
        super().begin(rows, situation)
        self._episodes += rows

    def observe(
        self,
        before: Situation,
        action: np.ndarray,
        reward: np.ndarray,
        after: Situation,
        terminated: np.ndarray,
        *,
        active: np.ndarray,
        learning: bool = True,
    ) -> None:
        """Feels one step of every row, remembers it, and learns from a batch; see the base."""
        for number, channel in enumerate(self.channels):
            self._levels[:, number] = channel.level  # before this step is felt
        super().observe(before, action, reward, after, terminated, active=active, learning=learning)

    # What a kind of network changes

    def _outputs(self) -> int:
        """Outputs of a network."""
        return self.num_actions

    def _expected(self, outputs: Tensor, risk: Tensor) -> Tensor:
        """Action values `[R, n, A]` from a network's outputs and risk levels `[R, n]`."""
        return outputs

    def _risk(self) -> np.ndarray:
        """Risk level `[B]` of the rows, as they feel now."""
        return np.ones(len(self._rows))

    def _losses(self, leaves: Parameters, rows: np.ndarray, batch: Batch) -> tuple[Tensor, Tensor]:
        """Errors `[R, n]` and, with a gradient, losses `[R, n]` of remembered steps."""
        best = self.target[torch.from_numpy(rows)[:, None], batch.after].amax(dim=2)  # [R, n]
        values = self._forward(leaves, batch.state)  # [R, n, A]
        taken = values.gather(2, torch.from_numpy(batch.action)[:, :, None])[:, :, 0]
        errors = self._targets(batch, best) - taken
        return errors.detach(), errors.square()

    def _copy_target(self, rows: np.ndarray) -> None:
        """Copies the networks of the rows `[R]` int to their targets."""
        states = np.tile(np.arange(len(self._columns)), (len(rows), 1))
        with torch.no_grad():
            outputs = self._forward(of_rows(self.parameters, rows), states)
        self.target[torch.from_numpy(rows)] = outputs

    def _best_after(self, after: Situation) -> np.ndarray:
        """Value `[B]` of the best action in the rows' next states, by the target networks."""
        target = self.target[self._rows, self._number(after)]
        best: np.ndarray = self._as_values(target).max(axis=1)
        return best

    # Inside

    def _forward(self, parameters: Parameters, states: np.ndarray) -> Tensor:
        """Outputs `[R, n, ...]` in states `[R, n]`."""
        return forward(parameters, self._columns[torch.from_numpy(states)])

    def _targets(self, batch: Batch, after: Tensor) -> Tensor:
        """What values should be, from those that come after: `[R, n]`, or `[R, n, N]`."""
        shape = batch.reward.shape + (1,) * (after.ndim - batch.reward.ndim)
        going_on = torch.from_numpy(~batch.terminated).reshape(shape)
        reward = torch.from_numpy(batch.reward).reshape(shape)
        return reward + self.config.discount * going_on * after

    def _value(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        if not self.channels:  # then nothing asks for it
            return np.full(len(self._rows), np.nan)
        value: np.ndarray = self._values(state)[self._rows, action]
        return value

    def _values(self, state: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            outputs = self._forward(self.parameters, np.array(state)[:, None])
        return self._as_values(outputs[:, 0])

    def _as_values(self, outputs: Tensor) -> np.ndarray:
        """Action values `[B, A]` of outputs `[B, outputs]`, at the rows' own risk levels."""
        risk = torch.from_numpy(self._risk()).float()[:, None]
        return self._expected(outputs[:, None], risk)[:, 0].numpy().astype(float)

    def _exploration(self) -> np.ndarray:
        config = self.config
        decayed = config.epsilon_first * config.epsilon_decay ** (self._episodes - 1)
        explored: np.ndarray = np.maximum(config.epsilon_last, decayed)
        return explored

    def _learn(self, transition: Transition, resting: np.ndarray | None) -> None:
        step = Batch(
            state=self._here,
            action=transition.action,
            reward=self._shaped(transition),
            after=self._number(transition.after),
            terminated=transition.terminated,
            levels=self._levels,
            risk=self._risk(),
        )
        rows = np.flatnonzero(transition.active)
        self._replay.add(rows, step)
        learning = rows[self._replay.stored[rows] >= self.config.batch_size]
        if len(learning):
            self._update(learning)
        copied = rows[self._replay.stored[rows] % self.config.target_every == 0]
        if len(copied):
            self._copy_target(copied)
        if self.channels:
            after = self._best_after(transition.after)
            going_on = np.where(transition.terminated, 0.0, self.config.discount * after)
            self._tell(transition, step.reward + going_on - transition.value, resting)

    def _update(self, rows: np.ndarray) -> None:
        batch = self._replay.sample(rows, self.config.batch_size)
        leaves = [
            parameter.detach().requires_grad_(True) for parameter in of_rows(self.parameters, rows)
        ]
        errors, losses = self._losses(leaves, rows, batch)
        if self.channels:
            losses = losses * torch.from_numpy(self._weights(errors.numpy(), batch)).float()
        # A sum over rows: each row's gradient is that of its own mean loss.
        gradients = torch.autograd.grad(losses.mean(dim=1).sum(), leaves)
        self._adam.step(rows, gradients)

    def _weights(self, errors: np.ndarray, batch: Batch) -> np.ndarray:
        """Weights `[R, n]` of the losses, by the gains of the channels."""
        unknown = np.full(errors.size, -1)
        flat = errors.ravel().astype(float)
        transition = Transition(
            before=Situation(state=batch.state.ravel(), context={}, last_action=unknown),
            action=batch.action.ravel(),
            reward=batch.reward.ravel(),
            after=Situation(
                state=batch.after.ravel(), context={}, last_action=batch.action.ravel()
            ),
            terminated=batch.terminated.ravel(),
            value=np.full(errors.size, np.nan),
            active=np.ones(errors.size, bool),
        )
        weights = np.ones(errors.size)
        for number, channel in enumerate(self.channels):
            for influence in channel.influences:
                level = batch.levels[:, :, number].ravel()
                weights = weights * influence.gain(flat, level, transition)
        return weights.reshape(errors.shape)


def one_hot_columns(sizes: Sequence[int]) -> Tensor:
    """The inputs that are 1 in each state.

    Args:
        sizes: Number of values of each of F factors.

    Returns:
        `[S, F]` int64; S is the product of the sizes.
    """
    factors = np.stack(np.unravel_index(np.arange(np.prod(sizes)), tuple(sizes)), axis=1)
    return torch.from_numpy(factors + np.cumsum([0, *sizes[:-1]]))
