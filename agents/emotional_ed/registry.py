"""Tabular agents by name: short lists of channels, with the rule that has the same information."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from erm_gym.agents.emotional_ed import pitch_black_agents as pitch_black
from erm_gym.agents.emotional_ed.anger_agents import angry, persistent, pushes_until_open
from erm_gym.agents.emotional_ed.anxiety_agents import anxious, flight
from erm_gym.agents.emotional_ed.channel import Channel
from erm_gym.agents.emotional_ed.colour_fear import never_onto_feared, shuns_colours
from erm_gym.agents.emotional_ed.conflict_agents import minds_its_temper, torn
from erm_gym.agents.emotional_ed.disgust_agents import disgusted, stays_clean
from erm_gym.agents.emotional_ed.fear_agents import feared, never_into_reach, transfer_feared
from erm_gym.agents.emotional_ed.grief_agents import grieving, looks_once
from erm_gym.agents.emotional_ed.integrated_agents import integrated, keeps_away_and_pushes
from erm_gym.agents.emotional_ed.mood_agents import goes_by_the_last_event, moody
from erm_gym.agents.emotional_ed.patience_agents import goes_on_while_in_reach, patient
from erm_gym.agents.emotional_ed.q_learner import QConfig, QLearner
from erm_gym.agents.emotional_ed.quantile_table import QuantileTableLearner
from erm_gym.agents.emotional_ed.regret_agents import regretful, wins_stays_loses_shifts
from erm_gym.agents.emotional_ed.regulation_agents import goes_by_type, regulated
from erm_gym.agents.emotional_ed.risk_agents import never_onto_threat, risk_averse
from erm_gym.agents.emotional_ed.surprise_agents import follows_what_paid, surprised
from erm_gym.agents.emotional_ed.wanting_agents import salient_first, wanting_salience

Channels = Callable[[], Sequence[Channel]]
"""Makes an agent's channels; called anew for every learner, since they hold its emotions."""


@dataclass(frozen=True, kw_only=True)
class ClassicAgent:
    """A Q-learner with channels."""

    channels: Channels
    """What it feels, and what that does."""
    scripted: Channels | None = None
    """A hand-written rule on the same signal, as channels of a plain learner; None if there is
    none."""
    env: str | None = None
    """The fair environment it was made for; None for an agent of no experiment."""
    config: QConfig = field(default_factory=QConfig)
    """Hyperparameters, where nothing was tuned."""
    search: ClassVar[Mapping[str, Sequence[float]]] = {
        "learning_rate": (0.05, 0.1, 0.2, 0.3, 0.5, 0.8),
        "epsilon": (0.05, 0.1, 0.2, 0.35, 0.5),
        "discount": (0.8, 0.9, 0.99),
    }
    """Hyperparameters that a fair comparison tunes. Source: Emotional-ED, section 3, rule 1."""
    kind: type[QLearner] = QLearner
    """What learns."""

    def learner(
        self,
        seeds: Sequence[int],
        sizes: Sequence[int],
        num_actions: int,
        channels: Sequence[Channel] | None = None,
        *,
        observed_levels: int = 1,
        **hyperparameters: Any,
    ) -> QLearner:
        """A fresh learner.

        Args:
            seeds: Seed of each of the B rows.
            sizes: Number of values of each factor of the observation.
            num_actions: Actions A.
            channels: Other channels than its own.
            observed_levels: As for `QLearner`.
            **hyperparameters: Changes of the configuration, one value or `[B]`.
        """
        config = replace(self.config, **hyperparameters)
        felt = self.channels() if channels is None else channels
        states = math.prod(sizes)
        return self.kind(seeds, states, num_actions, config, felt, observed_levels=observed_levels)


CLASSIC_AGENTS: dict[str, ClassicAgent] = {
    "q": ClassicAgent(channels=list),
    "feared-q": ClassicAgent(channels=feared, scripted=never_into_reach, env="ErmGym/FearGrid-v1"),
    "anger-q": ClassicAgent(channels=angry, scripted=pushes_until_open, env="ErmGym/AngerGrid-v1"),
    "regret-q": ClassicAgent(
        channels=regretful, scripted=wins_stays_loses_shifts, env="ErmGym/TwoDoors-v1"
    ),
    "grief-q": ClassicAgent(channels=grieving, scripted=looks_once, env="ErmGym/LostResource-v1"),
    "regulated-q": ClassicAgent(
        channels=regulated, scripted=goes_by_type, env="ErmGym/Regulation-v1"
    ),
    "integrated-q": ClassicAgent(
        channels=integrated, scripted=keeps_away_and_pushes, env="ErmGym/Integration-v1"
    ),
    "transfer-feared-q": ClassicAgent(
        channels=transfer_feared, scripted=never_into_reach, env="ErmGym/TransferGrid-v1"
    ),
    "disgust-q": ClassicAgent(
        channels=disgusted, scripted=stays_clean, env="ErmGym/Contamination-v1"
    ),
    "wanting-q": ClassicAgent(
        channels=wanting_salience, scripted=salient_first, env="ErmGym/WantingLiking-v1"
    ),
    "conflict-q": ClassicAgent(channels=torn, scripted=minds_its_temper, env="ErmGym/Conflict-v1"),
    "mood-q": ClassicAgent(
        channels=moody, scripted=goes_by_the_last_event, env="ErmGym/Temporal-v1"
    ),
    "curiosity-q": ClassicAgent(
        channels=pitch_black.curious, scripted=pitch_black.scripted, env="ErmGym/PitchBlack-v1"
    ),
    "surprise-q": ClassicAgent(
        channels=surprised, scripted=follows_what_paid, env="ErmGym/Seasons-v1"
    ),
    "persistent-q": ClassicAgent(
        channels=persistent, scripted=pushes_until_open, env="ErmGym/Bottleneck-v1"
    ),
    "visual-feared-q": ClassicAgent(
        channels=shuns_colours, scripted=never_onto_feared, env="ErmGym/VisualTransfer-v1"
    ),
    "anxiety-q": ClassicAgent(channels=anxious, scripted=flight, env="ErmGym/PredatorPrey-v1"),
    "patience-q": ClassicAgent(
        channels=patient, scripted=goes_on_while_in_reach, env="ErmGym/BatteryRun-v1"
    ),
    "cvar-feared-q": ClassicAgent(
        channels=risk_averse,
        scripted=never_onto_threat,
        env="ErmGym/Gamble-v1",
        kind=QuantileTableLearner,
    ),
}
"""Every tabular agent by its name, in the order of the experiments."""
