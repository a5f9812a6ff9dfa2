"""A vector wrapper that writes down every episode, without changing any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from erm_gym.envs.text import CandidateGenerationVectorEnv
from erm_gym.evaluation.records import EpisodeRecord
from erm_gym.feedback import Episode
from erm_gym.llm import FrozenLLM

Observation = dict[str, np.ndarray]
UNFINISHED = "\ufffd"
"""What a tokenizer decodes the first bytes of a character to."""


class EpisodeRecorder(VectorWrapper):
    """Makes an `EpisodeRecord` of every finished episode of a text environment.

    It stands below the bridge to Stable-Baselines3, which leaves out what a record needs. The
    environment must reset in the same step.

    Attributes:
        llm: The frozen LM of the environment.
    """

    def __init__(self, env: VectorEnv) -> None:
        """Wraps a text environment, with or without a critic."""
        super().__init__(env)
        inner = env.unwrapped
        assert isinstance(inner, CandidateGenerationVectorEnv)
        self.llm = inner.llm
        self._fear: list[list[float]] = [[] for _ in range(env.num_envs)]
        self._observed: np.ndarray | None = None  # [B] total fear
        self._finished: list[tuple[int, EpisodeRecord]] = []

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment; half-written episodes are forgotten."""
        # Wrappers hand a list of seeds on, which gymnasium's annotation does not say of all.
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._fear = [[] for _ in range(self.num_envs)]
        self._observe(observations)
        return observations, infos

    def step(
        self, actions: Any
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps the environment and notes the fear that the actions were chosen with."""
        if self._observed is not None:
            for row, fear in enumerate(self._observed.tolist()):
                self._fear[row].append(round(fear, 4))
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        for row in np.flatnonzero(terminated | truncated).tolist():
            final = infos["final_info"]
            self._finished.append(
                (
                    row,
                    make_record(
                        final["judged_episode"][row],
                        score=float(final["feedback"][row]),
                        stance=str(final["stance"][row]),
                        components=_components(final, row),
                        fear=self._fear[row],
                        llm=self.llm,
                    ),
                )
            )
            self._fear[row] = []
        self._observe(observations)
        return observations, rewards, terminated, truncated, infos

    def drain(self) -> list[tuple[int, EpisodeRecord]]:
        """Rows and records of the episodes that finished since the last call, in order."""
        finished, self._finished = self._finished, []
        return finished

    def _observe(self, observations: Observation) -> None:
        if "fear" in observations:
            self._observed = observations["fear"].max(axis=-1)


def make_record(
    episode: Episode,
    *,
    score: float,
    stance: str,
    components: dict[str, float],
    fear: list[float],
    llm: FrozenLLM,
) -> EpisodeRecord:
    """The record of an episode.

    Args:
        episode: The episode that the user saw, T tokens long.
        score: The user's feedback.
        stance: How the user read it.
        components: Parts of the feedback.
        fear: Total fear at each of the T tokens, or nothing.
        llm: The LM whose tokens they are.
    """
    return EpisodeRecord(
        prompt_id=episode.prompt.prompt_id,
        domain=episode.prompt.domain,
        risky=episode.prompt.risky,
        prompt=episode.prompt.text,
        reply=episode.reply,
        score=score,
        stance=stance,
        components=components,
        tokens=token_texts(episode.tokens.tolist(), episode.reply, llm),
        fear=fear,
        logprob=float(episode.logprobs.mean()),
        steps=len(episode.tokens),
    )


def token_texts(tokens: Sequence[int], reply: str, llm: FrozenLLM) -> list[str]:
    """What each token adds to the text; joined, they are the reply.

    A token that holds only some bytes of a character adds nothing: the one that completes it does.
    """
    texts, shown = [], ""
    for end in range(1, len(tokens)):
        text = llm.decode(tokens[:end])
        whole = text.startswith(shown) and reply.startswith(text) and not text.endswith(UNFINISHED)
        texts.append(text[len(shown) :] if whole else "")
        shown = text if whole else shown
    return [*texts, reply[len(shown) :]]


def _components(final: dict[str, Any], row: int) -> dict[str, float]:
    """Parts of a row's feedback; rows with other parts have no entry under `_name`."""
    components: dict[str, Any] = final.get("components", {})
    return {
        name: float(values[row])
        for name, values in components.items()
        if not name.startswith("_") and components[f"_{name}"][row]
    }
