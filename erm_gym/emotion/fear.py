"""The FearModule: phasic fear of what is being read, tonic fear of what went badly before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from erm_gym.emotion._checks import require_range

Clock = Literal["token", "turn", "episode"]
"""What one tick of the decay of tonic fear is."""

DANGER_SIZE = 128
"""Width of the danger net."""


@dataclass(frozen=True, kw_only=True)
class FearConfig:
    """Constants of the fear dynamics.

    Source: emotional reward model (the project's seed document), FearModule. The clock is our own
    addition: at 0.9 per token nothing of an episode's feedback is left after some 50 tokens.
    """

    tonic_increment: float = 0.3
    """Added to tonic fear after painful feedback; in [0, 1]."""
    feedback_threshold: float = -0.5
    """Feedback below it (not equal to it) is painful; in [-1, 1]."""
    decay: float = 0.9
    """Factor of tonic fear at each tick of the clock; in [0, 1]."""
    clock: Clock = "token"
    """When the decay ticks if the caller does not say: with "token" at each step, else never (the
    caller marks the turn or episode with `tick`)."""

    context_rate: float = 0.1
    """Weight of each new hidden state in the leaky mean that phasic fear is read from; in (0, 1].
    Our own: the seed takes the mean over the whole text, which reads what is still to come."""

    def __post_init__(self) -> None:
        require_range("FearConfig", "context_rate", self.context_rate, 1e-6, 1.0)
        require_range("FearConfig", "tonic_increment", self.tonic_increment, 0.0, 1.0)
        require_range("FearConfig", "feedback_threshold", self.feedback_threshold, -1.0, 1.0)
        require_range("FearConfig", "decay", self.decay, 0.0, 1.0)
        if self.clock not in get_args(Clock):
            raise ValueError(f"FearConfig.clock is {self.clock!r}; choose from {get_args(Clock)}.")


class FearModule(nn.Module):
    """Phasic fear is max(danger, pain) of the text so far; tonic fear is a trace of pain.

    The text so far is a leaky mean of hidden states that starts at the mean over the prompt (see
    `pool`): the risk of a request stays in it while the reply is written.

    One step: painful feedback raises tonic fear by 0.3, capped at 1; total fear is
    max(phasic, tonic), computed after the rise and before the decay; then tonic fear is multiplied
    by 0.9 where the clock ticks.

    Both nets end in a layer whose weights start at zero: an untrained danger net answers
    sigmoid(-2) = 0.12 and an untrained pain net sigmoid(-4) = 0.02 to everything; `train_detector`
    trains them.

    Source: emotional reward model (the project's seed document), FearModule.
    """

    def __init__(self, hidden_size: int, config: FearConfig | None = None) -> None:
        """Build the module.

        Args:
            hidden_size: d, size of the language model's hidden states.
            config: Constants of the dynamics.
        """
        super().__init__()
        self.hidden_size = hidden_size
        self.config = config or FearConfig()
        self.danger_net = _detector(hidden_size, DANGER_SIZE, start=-2.0)
        self.pain_net = _detector(hidden_size, 64, start=-4.0)

    def initial_state(self, batch_size: int) -> Tensor:
        """Return tonic fear `[B]` of rows that were never hurt: 0."""
        first = next(self.danger_net.parameters())
        return first.new_zeros(batch_size)

    def danger(self, hidden: Tensor) -> Tensor:
        """Return the danger `[...]` in [0, 1] of hidden states `[..., d]`."""
        return _probability(self.danger_net, hidden)

    def pain(self, hidden: Tensor) -> Tensor:
        """Return the pain `[...]` in [0, 1] of hidden states `[..., d]`."""
        return _probability(self.pain_net, hidden)

    def phasic(self, hidden: Tensor) -> Tensor:
        """Return phasic fear `[...]`, max(danger, pain), of hidden states `[..., d]`."""
        return torch.maximum(self.danger(hidden), self.pain(hidden))

    def pool(self, hidden: Tensor, context: Tensor, begun: Tensor) -> Tensor:
        """Return the leaky mean after one more hidden state.

        Args:
            hidden: `[B, d]` the new hidden states, any floating dtype.
            context: `[B, d]` the mean so far.
            begun: `[B]` bool, where there is a mean so far; elsewhere `hidden` starts one.

        Returns:
            `[B, d]` in the dtype of `context`: (1 - rate) * context + rate * hidden.
        """
        new = hidden.to(context.dtype)
        mixed = torch.lerp(context, new, self.config.context_rate)
        return torch.where(begun[:, None], mixed, new)

    def hurt(self, tonic: Tensor, feedback: Tensor | None) -> Tensor:
        """Return tonic fear after feedback, before any decay.

        Args:
            tonic: `[B]` tonic fear in [0, 1].
            feedback: `[B]` the user's scores in [-1, 1], nan where there is none; None for nowhere.

        Returns:
            `[B]` tonic fear in [0, 1].
        """
        if feedback is None:
            return tonic
        painful = feedback.to(tonic.device) < self.config.feedback_threshold  # False for nan
        return torch.where(painful, (tonic + self.config.tonic_increment).clamp_max(1.0), tonic)

    def decay(self, tonic: Tensor, tick: Tensor | None = None) -> Tensor:
        """Return tonic fear after the clock.

        Args:
            tonic: `[B]` tonic fear.
            tick: `[B]` bool, where the clock ticks; None for the default of `FearConfig.clock`.

        Returns:
            `[B]` tonic fear in [0, 1].
        """
        if tick is None:
            return tonic * self.config.decay if self.config.clock == "token" else tonic
        return torch.where(tick.to(tonic.device), tonic * self.config.decay, tonic)

    def step(
        self,
        context: Tensor,
        tonic: Tensor,
        feedback: Tensor | None = None,
        tick: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Advance fear by one step. Total fear is the larger of the first two results.

        Args:
            context: `[B, d]` leaky mean of the hidden states, as `pool` returns it.
            tonic: `[B]` tonic fear before the step.
            feedback: `[B]` scores in [-1, 1], nan where there is none; None for nowhere.
            tick: `[B]` bool, where the clock of the decay ticks; None for the clock's default.

        Returns:
            Phasic fear `[B]`; tonic fear `[B]` as it is felt now, with this feedback and before
            this decay; and tonic fear `[B]` for the next step. All in [0, 1].
        """
        felt = self.hurt(tonic, feedback)
        return self.phasic(context), felt, self.decay(felt, tick)


def _detector(hidden_size: int, width: int, start: float) -> nn.Sequential:
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, start)
    return nn.Sequential(nn.Linear(hidden_size, width), nn.ReLU(), last)


def _probability(net: nn.Sequential, hidden: Tensor) -> Tensor:
    logit: Tensor = net(hidden.to(next(net.parameters()).dtype)).squeeze(-1)
    return torch.sigmoid(logit)
