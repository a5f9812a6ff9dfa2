"""An emotional critic beside rows of text: it reads what they are asked and what they write."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from gymnasium import spaces

from erm_gym.emotion import Clock, CriticError, EmotionalCritic
from erm_gym.emotion.checkpoint import shipped_names
from erm_gym.emotion.critic import CriticState
from erm_gym.llm import FrozenLLM

FELT_SPACES: dict[str, spaces.Space[np.ndarray]] = {
    "emotion": spaces.Box(0.0, 1.0, (6,), np.float32),
    "fear": spaces.Box(0.0, 1.0, (2,), np.float32),
}
"""What an observation holds of the critic; `fear` is phasic and tonic."""


@dataclass(frozen=True, kw_only=True)
class CriticSnapshot:
    """All that `CriticRows` holds."""

    state: CriticState
    """What the critic keeps of every row."""
    felt: dict[str, np.ndarray]
    """What it feels now."""


class CriticRows:
    """What an emotional critic feels in each of B rows.

    The critic reads `prompt_hidden` when a row begins or is spoken to, then `hidden` once per
    token. The user's feedback reaches it with the last token of a reply. Because what it feels is
    part of the observation, a policy that recomputes its log-probabilities feels what it felt when
    it acted.

    Attributes:
        critic: The critic; it is not trained here.
        felt: `emotion` `[B, 6]` and `fear` `[B, 2]`, float32 in [0, 1].
    """

    def __init__(
        self,
        critic: EmotionalCritic,
        num_rows: int,
        *,
        clock: Clock | None = None,
        keep_tonic_fear: bool | None = None,
    ) -> None:
        """Feels nothing yet.

        Args:
            critic: The critic.
            num_rows: Number B of rows.
            clock: When tonic fear decays; None for what the critic's configuration says.
            keep_tonic_fear: Whether tonic fear outlives an episode; None for the same.
        """
        self.critic = critic
        self.felt = {
            name: np.zeros((num_rows, *box.shape), np.float32)  # type: ignore[misc]
            for name, box in FELT_SPACES.items()
        }
        self._clock = clock or critic.config.fear.clock
        self._keep_tonic_fear = keep_tonic_fear
        self._state = critic.initial_state(num_rows)

    @property
    def total_fear(self) -> np.ndarray:
        """`[B]` max(phasic, tonic), in [0, 1]."""
        total: np.ndarray = self.felt["fear"].max(axis=-1)
        return total

    @property
    def tonic_fear(self) -> np.ndarray:
        """`[B]` tonic fear as the next position finds it, in [0, 1]."""
        return self._state.tonic_fear.cpu().numpy()

    def begin(self, rows: np.ndarray, prompt_hidden: np.ndarray) -> None:
        """Begins new episodes.

        Args:
            rows: Numbers of the rows.
            prompt_hidden: `[B, d]` float32; only those of `rows` are read.
        """
        mask = np.zeros(len(prompt_hidden), bool)
        mask[rows] = True
        on_device = torch.from_numpy(mask).to(self._state.tonic_fear.device)
        self._state = self.critic.reset(
            self._state, on_device, keep_tonic_fear=self._keep_tonic_fear
        )
        self.read(prompt_hidden, mask)

    def set_tonic_fear(self, rows: list[int], tonic_fear: float) -> None:
        """Gives rows a tonic fear in [0, 1]; 0 as if they had lived through nothing."""
        values = self._state.tonic_fear.clone()
        values[rows] = tonic_fear
        self._state = replace(self._state, tonic_fear=values)

    @torch.no_grad()
    def read(
        self,
        hidden: np.ndarray,
        rows: np.ndarray,
        feedback: np.ndarray | None = None,
        episode_over: np.ndarray | None = None,
    ) -> None:
        """Reads one more position in some rows.

        Args:
            hidden: `[B, d]` float32.
            rows: `[B]` bool, who reads.
            feedback: `[B]` float32 scores in [-1, 1] of the replies that end here, nan elsewhere.
            episode_over: `[B]` bool, whose episode ends here.
        """
        device = self._state.tonic_fear.device
        if self._clock == "token":
            tick = torch.ones(len(rows), dtype=torch.bool)
        elif self._clock == "turn" and feedback is not None:
            tick = ~torch.from_numpy(np.isnan(feedback))
        elif self._clock == "episode" and episode_over is not None:
            tick = torch.from_numpy(episode_over)
        else:
            tick = torch.zeros(len(rows), dtype=torch.bool)
        signals, fear, state = self.critic.observe(
            torch.from_numpy(hidden).to(device),
            self._state,
            None if feedback is None else torch.from_numpy(feedback).to(device),
            tick.to(device),
        )
        emotion, dread = signals.tensor.float().cpu().numpy(), fear.float().cpu().numpy()
        if rows.all():
            self._state = state
            self.felt = {"emotion": emotion, "fear": dread}
        else:
            self._state = state.where(torch.from_numpy(rows).to(device), self._state)
            self.felt = {
                "emotion": np.where(rows[:, None], emotion, self.felt["emotion"]),
                "fear": np.where(rows[:, None], dread, self.felt["fear"]),
            }

    def snapshot(self) -> CriticSnapshot:
        """Everything; what is kept is replaced and never written into, so nothing is copied."""
        return CriticSnapshot(state=self._state, felt=self.felt)

    def restore(self, snapshot: CriticSnapshot) -> None:
        """Goes back to a snapshot."""
        self._state, self.felt = snapshot.state, snapshot.felt


def resolve_critic(critic: str | EmotionalCritic, llm: FrozenLLM) -> EmotionalCritic:
    """A critic for an LM.

    Args:
        critic: The critic itself; `default` for the one shipped for this LM, or an untrained one
            where there is none; else a name that `EmotionalCritic.from_pretrained` takes.
        llm: The LM whose hidden states it reads.

    Raises:
        CriticError: If nothing of that name is there or fits the LM.
    """
    if isinstance(critic, str):
        if critic != "default" or llm.name in shipped_names():
            name = llm.name if critic == "default" else critic
            return EmotionalCritic.from_pretrained(name, llm=llm)
        return EmotionalCritic.for_llm(llm)
    if critic.config.hidden_size != llm.hidden_size:
        raise CriticError(
            f"the critic reads hidden states of width {critic.config.hidden_size}, but those of "
            f"{llm.name!r} have {llm.hidden_size}; use the critic of {critic.config.llm_name!r} "
            "with that LM"
        )
    own = critic.modulator.scale.device
    if own != llm.device:
        raise CriticError(
            f"the critic is on {own} and {llm.name!r} on {llm.device}; move it with "
            f"critic.to({str(llm.device)!r})"
        )
    return critic
