"""The channels of the Emotional-ED agents, on the candidates of a frozen LM.

In the classic environments an emotion reads the context; here it reads what the critic feels. What
acts on action values there acts on the values of candidate tokens here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from erm_gym.agents.emotional_bias import EmotionalBias
from erm_gym.agents.emotional_ed import Channel, Emotion, Influence, Situation, Transition
from erm_gym.agents.hyperparameters import AgentError
from erm_gym.agents.prior_dqn import PriorDQN, PriorQNetwork
from erm_gym.emotion import EMOTIONS, LogitModulator

OTHER_PLACES = ("epsilon", "risk", "action", "reward", "gain", "lesson")
"""Where an influence can act besides action values."""


class CriticSignal(Emotion):
    """One of the critic's six signals, as the environment observes it.

    Args:
        name: One of `erm_gym.emotion.EMOTIONS`.

    Raises:
        AgentError: If there is no such emotion.
    """

    def __init__(self, name: str) -> None:
        if name not in EMOTIONS:
            raise AgentError(f"unknown emotion {name!r}; there are {', '.join(EMOTIONS)}")
        self.name = name

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Feels what the critic feels."""
        self.level[rows] = situation.context[self.name][rows]

    def feel(self, transition: Transition) -> None:
        """Feels what the critic feels now."""
        self.level[:] = transition.after.context[self.name]


def towards(name: str) -> Callable[[Situation], np.ndarray]:
    """What the critic's modulator would add to each candidate if this emotion alone were at 1.

    Args:
        name: One of `erm_gym.emotion.EMOTIONS`.

    Returns:
        A direction for `Bonus`: fear's favours cautious tokens.
    """
    return lambda situation: situation.context[_modulation(name)]


class ChannelBias(EmotionalBias):
    """Channels in the place of the emotional bias of a Q-network.

    Args:
        modulator: The critic's.
        channels: Their emotions are `CriticSignal`s, or remember nothing else.

    Raises:
        AgentError: If an influence acts on something else than action values.
    """

    def __init__(self, modulator: LogitModulator, channels: Sequence[Channel]) -> None:
        super().__init__(modulator.vocab_size, weight=1.0)
        self.adopt(modulator)
        for channel in channels:
            for influence in channel.influences:
                for place in OTHER_PLACES:
                    if getattr(type(influence), place) is not getattr(Influence, place):
                        raise AgentError(
                            f"{type(influence).__name__} acts on the {place}, but on text channels "
                            "act on the values of candidates only"
                        )
        self.channels = tuple(channels)
        self._rows = -1

    def on_values(self, values: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
        """Q-values `[B, A]` as the channels change them; masked candidates do not count."""
        rows, actions = values.shape
        if rows != self._rows:
            self._rows = rows
            for channel in self.channels:
                channel.emotion.allocate(rows, 1, actions)
        mask = observation.get("action_mask")
        if mask is not None:  # neither best nor worst, so that no spread depends on them
            allowed = mask.bool()
            least = values.masked_fill(~allowed, torch.inf).amin(dim=1, keepdim=True)
            values = torch.where(allowed, values, least)
        situation = self._situation(observation, rows)
        changed = values.detach().cpu().numpy().astype(float)
        for channel in self.channels:
            channel.emotion.begin(np.ones(rows, bool), situation)
            for influence in channel.influences:
                changed = influence.values(changed, channel.level, situation)
        return torch.from_numpy(changed).to(values)

    def _situation(self, observation: Mapping[str, Tensor], rows: int) -> Situation:
        felt = observation["emotion"].float().cpu().numpy()
        candidates = observation["candidates"].long()
        context = {name: felt[:, number].astype(float) for number, name in enumerate(EMOTIONS)}
        for channel in self.channels:
            if isinstance(channel.emotion, CriticSignal):
                name = channel.emotion.name
                alone = torch.zeros(rows, len(EMOTIONS), device=candidates.device)
                alone[:, EMOTIONS.index(name)] = 1.0
                context[_modulation(name)] = self.modulator(alone, candidates).cpu().numpy()
        none = np.full(rows, -1)
        return Situation(state=np.zeros(rows, int), context=context, last_action=none)


def use_channels(agent: PriorDQN, channels: Sequence[Channel]) -> None:
    """Gives a Q-learner of `make_agent` channels in the place of its emotional bias.

    They act whenever it chooses greedily, while it learns and afterwards. They are not saved with
    it: give them again to an agent that was loaded.

    Args:
        agent: Such as `make_agent("dqn", envs)`, in an environment with a critic.
        channels: What it feels, and what that does to the values of candidates.

    Raises:
        AgentError: If an influence acts on something else, or there is no critic.
    """
    for network in (agent.q_net, agent.q_net_target):
        assert isinstance(network, PriorQNetwork)
        if "emotion" not in network.observation_space.spaces:
            raise AgentError("channels feel what a critic feels; make it with critic='default'")
        network.bias = ChannelBias(network.bias.modulator, channels)


def _modulation(name: str) -> str:
    return f"modulation of {name}"
