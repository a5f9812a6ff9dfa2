"""An emotional critic beside rows of text: it reads what they are asked and what they write."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from gymnasium import spaces

from erm_gym.emotion import Clock, CriticError, EmotionalCritic
from erm_gym.emotion.checkpoint import shipped_names
from erm_gym.emotion.critic import CriticState
from erm_gym.emotion.online import OnlineCriticTrainer
from erm_gym.envs.text.online_rows import Heard, OnlineRows
from erm_gym.llm import FrozenLLM, SlotOutput

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
    heard: tuple[Heard, ...] = ()
    """What it read in every row, if it learns; what it learned is no part of a snapshot."""


class CriticRows:
    """What an emotional critic feels in each of B rows.

    The critic reads all positions of what is said when a row begins or is spoken to, then one
    position per token. The user's feedback reaches it with the last token of a reply. Because what
    it feels is part of the observation, a policy that recomputes its log-probabilities feels what
    it felt when it acted.

    With a trainer, the critic learns from every reply: see `learn`.

    Attributes:
        critic: The critic.
        felt: `emotion` `[B, 6]` and `fear` `[B, 2]`, float32 in [0, 1].
    """

    def __init__(
        self,
        critic: EmotionalCritic,
        num_rows: int,
        *,
        clock: Clock | None = None,
        keep_tonic_fear: bool | None = None,
        trainer: OnlineCriticTrainer | None = None,
    ) -> None:
        """Feels nothing yet.

        Args:
            critic: The critic.
            num_rows: Number B of rows.
            clock: When tonic fear decays; None for what the critic's configuration says.
            keep_tonic_fear: Whether tonic fear outlives an episode; None for the same.
            trainer: Who trains the critic on what happens; None leaves it as it is.
        """
        self.critic = critic
        self.felt = {
            name: np.zeros((num_rows, *box.shape), np.float32)  # type: ignore[misc]
            for name, box in FELT_SPACES.items()
        }
        self._clock = clock or critic.config.fear.clock
        self._keep_tonic_fear = keep_tonic_fear
        self._state = critic.initial_state(num_rows)
        self._online = None if trainer is None else OnlineRows(trainer, num_rows)

    @property
    def total_fear(self) -> np.ndarray:
        """`[B]` max(phasic, tonic), in [0, 1]."""
        total: np.ndarray = self.felt["fear"].max(axis=-1)
        return total

    @property
    def tonic_fear(self) -> np.ndarray:
        """`[B]` tonic fear as the next position finds it, in [0, 1]."""
        return self._state.tonic_fear.cpu().numpy()

    def begin(self, rows: np.ndarray, prompts: SlotOutput) -> None:
        """Begins new episodes.

        Args:
            rows: Numbers of the n rows.
            prompts: What the LM made of their prompts, in their order.
        """
        mask = torch.zeros(len(self._state.tonic_fear), dtype=torch.bool)
        mask[rows] = True
        self._state = self.critic.reset(
            self._state,
            mask.to(self._state.tonic_fear.device),
            keep_tonic_fear=self._keep_tonic_fear,
        )
        if self._online is not None:
            self._online.begin(rows)
        self.listen(rows, prompts)

    def listen(self, rows: np.ndarray, said: SlotOutput) -> None:
        """Reads what the user says.

        Args:
            rows: Numbers of the n rows.
            said: What the LM made of it, in their order.
        """
        tick = torch.full((len(rows),), self._clock == "token")
        self._read(rows, said.states, tick, mask=said.mask)
        if self._online is not None:
            self._online.hear(rows, said)

    def set_tonic_fear(self, rows: list[int], tonic_fear: float) -> None:
        """Gives rows a tonic fear in [0, 1]; 0 as if they had lived through nothing."""
        values = self._state.tonic_fear.clone()
        values[rows] = tonic_fear
        self._state = replace(self._state, tonic_fear=values)

    def read_token(
        self,
        states: np.ndarray,
        running: np.ndarray,
        feedback: np.ndarray | None = None,
        *,
        reply_over: np.ndarray | None = None,
        episode_over: np.ndarray | None = None,
    ) -> None:
        """Reads one more token in some rows.

        Args:
            states: `[B, L, d]` float32, at the critic's layers.
            running: `[B]` bool, who reads.
            feedback: `[B]` float32 scores in [-1, 1] of the replies that end here and get feedback,
                nan elsewhere.
            reply_over: `[B]` bool, whose reply ends here; None for nobody's.
            episode_over: `[B]` bool, whose episode ends here; None for nobody's.
        """
        rows = np.flatnonzero(running)
        if self._clock == "token":
            tick = np.ones(len(rows), bool)
        elif self._clock == "turn" and reply_over is not None:
            tick = reply_over[rows]
        elif self._clock == "episode" and episode_over is not None:
            tick = episode_over[rows]
        else:
            tick = np.zeros(len(rows), bool)
        told = None if feedback is None else torch.from_numpy(feedback[rows])
        own = torch.from_numpy(states[rows])  # [n, L, d]
        self._read(rows, own[:, None], torch.from_numpy(tick), told)
        if self._online is not None:
            over = np.zeros(len(rows), bool) if reply_over is None else reply_over[rows]
            self._online.write(rows, own, told, over)

    def learn(self) -> None:
        """Lets the critic learn from the replies that were finished since this was last called.

        What it feels now stays; what it has read stays valid, read by a slightly younger self.
        """
        if self._online is not None:
            self._online.learn()

    @torch.no_grad()
    def _read(
        self,
        rows: np.ndarray,
        states: torch.Tensor,
        tick: torch.Tensor,
        feedback: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> None:
        """Reads positions `[n, T, L, d]` in n rows; the rest as `EmotionalCritic.observe`."""
        device = self._state.tonic_fear.device
        numbers = torch.from_numpy(rows).to(device)
        everyone = np.array_equal(rows, np.arange(len(self._state.tonic_fear)))
        signals, fear, state = self.critic.observe(
            states.to(device),
            self._state if everyone else self._state.select(numbers),
            None if feedback is None else feedback.to(device),
            tick.to(device),
            mask,
        )
        self._state = state if everyone else self._state.put(numbers, state)
        felt = {"emotion": signals.tensor.float().cpu().numpy(), "fear": fear.float().cpu().numpy()}
        self.felt = {name: _with_rows(old, rows, felt[name]) for name, old in self.felt.items()}

    def snapshot(self) -> CriticSnapshot:
        """Everything but what was learned.

        What is kept is replaced and never written into, so nothing is copied.
        """
        heard = () if self._online is None else self._online.heard
        return CriticSnapshot(state=self._state, felt=self.felt, heard=heard)

    def restore(self, snapshot: CriticSnapshot) -> None:
        """Goes back to a snapshot."""
        self._state, self.felt = snapshot.state, snapshot.felt
        if self._online is not None:
            self._online.restore(snapshot.heard)


def _with_rows(array: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A copy of an array in which some rows have new values."""
    changed = array.copy()
    changed[rows] = values
    return changed


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
    if critic.config.layers[-1] > llm.num_layers:
        raise CriticError(
            f"the critic reads layer {critic.config.layers[-1]}, but {llm.name!r} has only "
            f"{llm.num_layers}; make one with EmotionalCritic.for_llm and layers of this LM"
        )
    own = critic.modulator.scale.device
    if own != llm.device:
        raise CriticError(
            f"the critic is on {own} and {llm.name!r} on {llm.device}; move it with "
            f"critic.to({str(llm.device)!r})"
        )
    return critic
