"""A vector wrapper that writes down every episode, without changing any."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from erm_gym.envs.text import TextVectorEnv
from erm_gym.evaluation.records import EpisodeRecord
from erm_gym.feedback import Episode, Feedback
from erm_gym.feedback.users.counts import counts_of
from erm_gym.llm import FrozenLLM
from erm_gym.llm.text import token_texts

Observation = dict[str, np.ndarray]


class EpisodeRecorder(VectorWrapper):
    """Makes an `EpisodeRecord` of every finished episode of a text environment.

    It stands below the bridge to Stable-Baselines3, which leaves out what a record needs. The
    environment must reset in the same step. Of a conversation the last reply is recorded.

    Attributes:
        llm: The frozen LM of the environment.
    """

    def __init__(self, env: VectorEnv) -> None:
        """Wraps a text environment, with or without a critic."""
        super().__init__(env)
        inner = env.unwrapped
        assert isinstance(inner, TextVectorEnv)
        self.llm = inner.llm
        self._finished: list[tuple[int, EpisodeRecord]] = []

    def step(
        self, actions: Any
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps the environment and records what ends."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        for row in np.flatnonzero(terminated | truncated).tolist():
            final = infos["final_info"]
            record = make_record(
                final["judged_episode"][row],
                feedback=final["user_feedback"][row],
                fear=[round(fear, 4) for fear in final["token_fear"][row]],
                llm=self.llm,
            )
            self._finished.append((row, record))
        return observations, rewards, terminated, truncated, infos

    def user_counts(self) -> dict[str, int]:
        """What the user has counted since the environment was made; empty for most users."""
        inner = self.env.unwrapped
        assert isinstance(inner, TextVectorEnv)
        return counts_of(inner.user)

    def drain(self) -> list[tuple[int, EpisodeRecord]]:
        """Rows and records of the episodes that finished since the last call, in order."""
        finished, self._finished = self._finished, []
        return finished


def make_record(
    episode: Episode,
    *,
    feedback: Feedback,
    fear: list[float],
    llm: FrozenLLM,
) -> EpisodeRecord:
    """The record of an episode.

    Args:
        episode: The episode that the user saw, T tokens long.
        feedback: What the user made of it.
        fear: Total fear at each of the T tokens, or nothing.
        llm: The LM whose tokens they are.
    """
    return EpisodeRecord(
        prompt_id=episode.prompt.prompt_id,
        domain=episode.prompt.domain,
        risky=episode.prompt.risky,
        prompt=episode.prompt.text,
        reply=episode.reply,
        score=float(feedback.score),
        stance=feedback.stance,
        components={name: float(part) for name, part in feedback.components.items()},
        tokens=token_texts(episode.tokens.tolist(), episode.reply, llm),
        fear=fear,
        logprob=float(episode.logprobs.mean()),
        steps=len(episode.tokens),
        given=feedback.given,
    )
