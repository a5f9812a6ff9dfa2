"""A vector wrapper that writes down every episode, without changing any."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from erm_gym.envs.text import TextVectorEnv
from erm_gym.evaluation.records import EpisodeRecord
from erm_gym.feedback import Episode, Feedback, User, make_user
from erm_gym.feedback.making import RewardFunction
from erm_gym.feedback.users.counts import counts_of
from erm_gym.llm import FrozenLLM
from erm_gym.llm.text import token_texts

Observation = dict[str, np.ndarray]

HELD_OUT = "held_out"
"""What counts of the held-out user begin with, before a `/`."""
HELD_OUT_STREAM = 0x4E1D
"""Ends the seeds of the held-out user's numbers, which are others than the user's."""


class EpisodeRecorder(VectorWrapper):
    """Makes an `EpisodeRecord` of every finished episode of a text environment.

    It stands below the bridge to Stable-Baselines3, which leaves out what a record needs. The
    environment must reset in the same step. Of a conversation the last reply is recorded.

    A held-out user, if there is one, scores the same episodes; it changes no reward.

    Attributes:
        llm: The frozen LM of the environment.
        held_out: The held-out user.
    """

    def __init__(self, env: VectorEnv, held_out: str | User | RewardFunction | None = None) -> None:
        """Wraps a text environment, with or without a critic.

        Args:
            env: The environment.
            held_out: What `make_user` takes; None for no held-out user.

        Raises:
            UserError: If there is no such user.
            OptionError: If something of it needs several turns, and there is one.
        """
        super().__init__(env)
        inner = env.unwrapped
        assert isinstance(inner, TextVectorEnv)
        self._inner = inner
        self.llm = inner.llm
        self.held_out = None if held_out is None else make_user(held_out, inner.llm)
        if self.held_out is not None:
            inner.require_effect(self.held_out)
        self._finished: list[tuple[int, EpisodeRecord]] = []

    def step(
        self, actions: Any
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps the environment and records what ends.

        Raises:
            UserError: If the held-out user fails.
        """
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        rows = np.flatnonzero(terminated | truncated).tolist()
        final = infos.get("final_info", {})
        reactions = self._ask_held_out([(row, final["judged_episode"][row]) for row in rows])
        for row, reaction in zip(rows, reactions, strict=True):
            record = make_record(
                final["judged_episode"][row],
                feedback=final["user_feedback"][row],
                fear=[round(fear, 4) for fear in final["token_fear"][row]],
                llm=self.llm,
                held_out=reaction,
            )
            self._finished.append((row, record))
        return observations, rewards, terminated, truncated, infos

    def _ask_held_out(self, finished: list[tuple[int, Episode]]) -> list[Feedback]:
        """What the held-out user, if there is one, says of episodes that rows have finished."""
        answers = {row: Feedback.silent() for row, _ in finished}
        asked = [(row, episode) for row, episode in finished if not self._inner.unheard[row]]
        if self.held_out is not None and asked:
            rng = np.random.default_rng([*(one.seed for _, one in asked), HELD_OUT_STREAM])
            said = self.held_out([episode for _, episode in asked], rng)
            answers.update(zip((row for row, _ in asked), said, strict=True))
        return list(answers.values())

    def ignore(self, row: int) -> None:
        """Asks neither user about what a row writes from now on; it is of no use any more."""
        self._inner.unheard[row] = True

    def user_counts(self) -> dict[str, int]:
        """What has been counted since the environment was made; empty for most users.

        Returns:
            Counts of the user by name, and those of the held-out user as `held_out/name`.
        """
        held_out = counts_of(self.held_out)
        return {
            **counts_of(self._inner.user),
            **{f"{HELD_OUT}/{name}": count for name, count in held_out.items()},
        }

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
    held_out: Feedback | None = None,
) -> EpisodeRecord:
    """The record of an episode.

    Args:
        episode: The episode that the user saw, T tokens long.
        feedback: What the user made of it.
        fear: Total fear at each of the T tokens, or nothing.
        llm: The LM whose tokens they are.
        held_out: What the held-out user says of it, if there is one.
    """
    held_out = held_out or Feedback.silent()
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
        held_out=held_out.score if held_out.given else None,
        held_out_stance=held_out.stance,
        held_out_components=dict(held_out.components),
    )
