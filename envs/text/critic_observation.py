"""A vector wrapper that lets an emotional critic watch, and puts what it feels into view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from erm_gym.emotion import CriticError, EmotionalCritic
from erm_gym.emotion.checkpoint import shipped_names
from erm_gym.emotion.critic import CriticState
from erm_gym.llm import FrozenLLM


@dataclass(frozen=True, kw_only=True)
class CriticSnapshot:
    """State of an environment and of the critic that watches it."""

    env: Any
    """The environment's own snapshot."""
    state: CriticState
    """What the critic keeps of every row."""
    felt: dict[str, np.ndarray]
    """What it feels now."""
    done: np.ndarray
    """`[B]` bool, rows that wait for a reset."""


class CriticObservation(VectorWrapper):
    """Adds `emotion` `[6]` and `fear` `[2]` (phasic, tonic), float32 in [0, 1], to the observation.

    The critic reads `prompt_hidden` when a row begins, then `hidden` once per token. The user's
    feedback reaches it with the last token, so that it is in the final observation. Because the
    emotion is part of the observation, a policy that recomputes its log-probabilities feels what
    it felt when it acted.

    Attributes:
        critic: The critic; it is not trained here.
    """

    def __init__(self, env: VectorEnv, critic: EmotionalCritic) -> None:
        """Wraps a text environment.

        Args:
            env: A vector environment with `hidden` and `prompt_hidden` in its observation.
            critic: A critic for hidden states of that width.

        Raises:
            CriticError: If the critic reads hidden states of another width.
        """
        super().__init__(env)
        self.critic = critic
        inner = env.single_observation_space
        assert isinstance(inner, spaces.Dict)
        width = inner["hidden"].shape
        if width != (critic.config.hidden_size,):
            raise CriticError(
                f"the critic reads hidden states of width {critic.config.hidden_size}, but the "
                f"environment's are {width}; use the critic of {critic.config.llm_name!r} with it"
            )
        felt = {
            "emotion": spaces.Box(0.0, 1.0, (6,), np.float32),
            "fear": spaces.Box(0.0, 1.0, (2,), np.float32),
        }
        self.single_observation_space = spaces.Dict({**inner.spaces, **felt})
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._state = critic.initial_state(env.num_envs)
        self._felt = {
            "emotion": np.zeros((env.num_envs, 6), np.float32),
            "fear": np.zeros((env.num_envs, 2), np.float32),
        }
        self._done = np.zeros(env.num_envs, bool)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Resets the environment; the critic reads the prompts of the rows that begin."""
        mask = (options or {}).get("reset_mask")
        mask = np.ones(self.num_envs, bool) if mask is None else mask
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._begin(observations, mask)
        self._done = self._done & ~mask
        return {**observations, **self._copy()}, infos

    def step(
        self, actions: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps the environment; the critic reads the new tokens and the feedback."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        finished = terminated | truncated
        same_step = self.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        hidden = observations["hidden"]
        if same_step and finished.any():
            hidden = hidden.copy()
            for row in np.flatnonzero(finished):
                hidden[row] = infos["final_obs"][row]["hidden"]
        final_infos = infos.get("final_info", {}) if same_step else infos
        feedback = np.full(self.num_envs, np.nan, np.float32)
        if finished.any():
            feedback[finished] = final_infos["feedback"][finished]
        self._read(hidden, ~self._done, torch.from_numpy(feedback))
        if same_step:
            for row in np.flatnonzero(finished):
                infos["final_obs"][row].update(
                    {key: value[row].copy() for key, value in self._felt.items()}
                )
        begins = finished if same_step else self._done
        if begins.any():
            self._begin(observations, begins)
        if not same_step:
            self._done = finished
        return {**observations, **self._copy()}, rewards, terminated, truncated, infos

    def snapshot(self) -> CriticSnapshot:
        """Copies the whole state, the environment's and the critic's; see `TextVectorEnv`."""
        return CriticSnapshot(
            env=self.env.snapshot(),  # type: ignore[attr-defined]
            state=self._state,
            felt=self._copy(),
            done=self._done.copy(),
        )

    def restore(self, snapshot: CriticSnapshot) -> dict[str, np.ndarray]:
        """Goes back to a snapshot and returns the observations of that moment."""
        observations = self.env.restore(snapshot.env)  # type: ignore[attr-defined]
        self._state = snapshot.state
        self._felt = {key: value.copy() for key, value in snapshot.felt.items()}
        self._done = snapshot.done.copy()
        return {**observations, **self._copy()}

    def _begin(self, observations: dict[str, np.ndarray], mask: np.ndarray) -> None:
        self._state = self.critic.reset(self._state, torch.from_numpy(mask))
        self._read(observations["prompt_hidden"], mask, None)

    @torch.no_grad()
    def _read(self, hidden: np.ndarray, rows: np.ndarray, feedback: torch.Tensor | None) -> None:
        """Advances the critic by one position in some rows."""
        device = self._state.tonic_fear.device
        signals, fear, state = self.critic.observe(
            torch.from_numpy(hidden).to(device),
            self._state,
            None if feedback is None else feedback.to(device),
        )
        self._state = state.where(torch.from_numpy(rows).to(device), self._state)
        self._felt["emotion"][rows] = signals.tensor.float().cpu().numpy()[rows]
        self._felt["fear"][rows] = fear.float().cpu().numpy()[rows]

    def _copy(self) -> dict[str, np.ndarray]:
        return {key: value.copy() for key, value in self._felt.items()}


def load_critic(name: str, llm: FrozenLLM) -> EmotionalCritic:
    """A critic by name.

    Args:
        name: `default` for the one shipped for this LM, or an untrained one where there is none;
            else what `EmotionalCritic.from_pretrained` takes.
        llm: The LM whose hidden states it reads.

    Raises:
        CriticError: If nothing of that name fits the LM.
    """
    if name != "default":
        return EmotionalCritic.from_pretrained(name, llm=llm)
    if llm.name in shipped_names():
        return EmotionalCritic.from_pretrained(llm.name, llm=llm)
    return EmotionalCritic.for_llm(llm)
