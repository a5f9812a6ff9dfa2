"""Reward functions of TRL as users, and users as reward functions of TRL.

TRL calls a reward function with keywords alone: `prompts`, `completions`, `completion_ids`, every
further column of the data set as a list, and `trainer_state`, `log_extra`, `log_metric`. It answers
one number per completion, or None where the reward does not apply. Neither direction imports TRL.

Source: TRL 1.16, `GRPOTrainer._calculate_rewards`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.making import AnyUser
from erm_gym.feedback.prompts import Prompt
from erm_gym.feedback.users.asking import Askable
from erm_gym.feedback.users.calling import NamedFunction, checked_user
from erm_gym.feedback.users.messages import (
    PROMPT_COLUMNS,
    Message,
    columns_of,
    episode_of,
    messages_of,
)
from erm_gym.feedback.users.scaling import Scaling
from erm_gym.llm import FrozenLLM

TRLFunction = Callable[..., Any]
"""Keywords `prompts, completions, completion_ids, **columns` to `list[float | None]`, or async."""
GIVEN = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
"""What TRL gives to every reward function."""


def from_trl(
    reward_func: TRLFunction,
    *,
    conversational: bool = True,
    columns: Mapping[str, Callable[[Prompt], Any]] | None = None,
    scale: float = 1.0,
    shift: float = 0.0,
    clip: bool = False,
) -> TRLUser:
    """A user from a reward function of TRL.

    >>> from trl.rewards import think_format_reward
    >>> user = from_trl(think_format_reward, scale=2.0, shift=-1.0)  # [0, 1] to [-1, 1]

    Args:
        reward_func: The function, which may be async. None from it is no feedback.
        conversational: Whether prompts and completions are lists of messages, as TRL's own reward
            functions expect; otherwise they are text.
        columns: Further columns by name, each made from a prompt, such as a `solution`. `risk`,
            `domain` and the other fields of `Prompt` are columns anyway.
        scale: Factor of the reward.
        shift: Added to it; the score is `scale * reward + shift`.
        clip: Whether a score beyond -1 or 1 is cut off; otherwise it is an error.

    Returns:
        The user; asked once for a batch.

    Raises:
        UserError: If the function needs an argument that there is not.
        ValueError: If scale or shift is no useful number.
    """
    return TRLUser(
        reward_func,
        conversational=conversational,
        columns=columns or {},
        scaling=Scaling(scale=scale, shift=shift, clip=clip),
    )


class TRLUser(Askable):
    """What a reward function of TRL says of a reply; see `from_trl`.

    Attributes:
        name: Name of the function.
    """

    def __init__(
        self,
        reward_func: TRLFunction,
        *,
        conversational: bool,
        columns: Mapping[str, Callable[[Prompt], Any]],
        scaling: Scaling,
    ) -> None:
        taken = sorted({*GIVEN, *PROMPT_COLUMNS} & set(columns))
        if taken:
            raise UserError(f"a column cannot be called {taken[0]!r}, which there is already")
        self._function = NamedFunction(reward_func, {*GIVEN, *PROMPT_COLUMNS, *columns})
        self._conversational = conversational
        self._columns = columns
        self._scaling = scaling
        self.name = self._function.name

    @property
    def is_async(self) -> bool:
        """Whether the function is awaited."""
        return self._function.is_async

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Asks the function once about all episodes; draws nothing from `rng`.

        Raises:
            UserError: If the function answers the wrong number of rewards, or one out of range.
        """
        where = f"in a batch that starts with the prompt {episodes[0].prompt.text!r}"
        rewards = await self._function.ask(self._arguments(episodes), where)
        if not isinstance(rewards, Sequence) or len(rewards) != len(episodes):
            count = len(rewards) if isinstance(rewards, Sequence) else repr(rewards)
            raise UserError(
                f"{self.name!r} answered {count} rewards to {len(episodes)} completions, of "
                f"which the first is for the prompt {episodes[0].prompt.text!r}; it must answer a "
                "list with one for each"
            )
        return [self._feedback(*pair) for pair in zip(episodes, rewards, strict=True)]

    def _feedback(self, episode: Episode, reward: float | None) -> Feedback:
        if reward is None:
            return Feedback.silent()
        try:
            return Feedback(score=self._scaling.score(float(reward)))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{self.name!r}: {error}, for the prompt {episode.prompt.text!r}"
            ) from error

    def _arguments(self, episodes: Sequence[Episode]) -> dict[str, Any]:
        from transformers import TrainerState

        prompts: list[Any] = []
        completions: list[Any] = []
        for episode in episodes:
            prompt, completion = messages_of(episode)
            if not self._conversational and episode.turns:
                raise UserError(
                    f"{self.name!r} takes plain text, but the conversation that began with "
                    f"{episode.prompt.text!r} has earlier turns; use conversational=True"
                )
            prompts.append(prompt if self._conversational else episode.said)
            completions.append(completion if self._conversational else episode.reply)
        known = [columns_of(episode.prompt) for episode in episodes]
        return {
            "prompts": prompts,
            "completions": completions,
            "completion_ids": [episode.tokens.tolist() for episode in episodes],
            "trainer_state": TrainerState(),  # there is no trainer: at step 0
            "log_extra": _forget,
            "log_metric": _forget,
            **{name: [row[name] for row in known] for name in PROMPT_COLUMNS},
            **{
                name: [make(episode.prompt) for episode in episodes]
                for name, make in self._columns.items()
            },
        }


def to_trl(
    user: AnyUser,
    llm: FrozenLLM | str | None = None,
    *,
    seed: int = 0,
) -> TRLReward:
    """A reward function of TRL from a user.

        trainer = GRPOTrainer(model, to_trl("risk-averse", "smollm2-135m"), ...)

    Args:
        user: What `make_user` takes.
        llm: The frozen LM that the user reads replies with, or its name; a user that is given by
            name, by a class or by an expression of these needs it.
        seed: What the user draws depends on this and on the text of a sample alone.

    Returns:
        The function. It takes prompts and completions as text or as messages; columns of the data
        set that are called like the fields of `Prompt` (`risk`, `domain`, ...) describe the
        prompts, and others are left out. Where the user gives no feedback the reward is None. The
        means of the score's components are logged as `NAME/COMPONENT`.

    Raises:
        UserError: If there is no such user, or the LM is missing.
    """
    return TRLReward(user, llm, seed=seed)


class TRLReward:
    """A user as a reward function of TRL; see `to_trl`."""

    def __init__(
        self,
        user: AnyUser,
        llm: FrozenLLM | str | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.user = checked_user(user, llm)
        self.seed = seed
        self.__name__ = self.user.name  # what TRL calls it in its logs

    def __call__(
        self,
        prompts: Sequence[str | Sequence[Message]],
        completions: Sequence[str | Sequence[Message]],
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Rewards of a batch.

        Args:
            prompts: What was asked, text or messages.
            completions: What was written, one per prompt.
            completion_ids: Token ids of the completions.
            log_metric: Takes the mean of each component of the scores.
            columns: Columns of the data set, each one value per prompt, and what else TRL gives.

        Returns:
            Scores in [-1, 1]; None where the user gives no feedback.

        Raises:
            UserError: If the user fails, or a sample cannot be shown to it.
        """
        if len(prompts) != len(completions):
            raise UserError(f"got {len(prompts)} prompts but {len(completions)} completions")
        if not len(prompts):
            return []
        known = {name: columns[name] for name in PROMPT_COLUMNS if name in columns}
        episodes = [
            episode_of(
                prompt,
                completions[index],
                {name: values[index] for name, values in known.items()},
                tokens=completion_ids[index] if completion_ids is not None else (),
                seed=self.seed,
            )
            for index, prompt in enumerate(prompts)
        ]
        answers = self.user(episodes, np.random.default_rng(self.seed))
        if log_metric is not None:
            for name in sorted({name for answer in answers for name in answer.components}):
                parts = [answer.components[name] for answer in answers if name in answer.components]
                log_metric(f"{self.__name__}/{name}", float(np.mean(parts)))
        return [answer.score if answer.given else None for answer in answers]


def _forget(name: str, values: Any) -> None:
    """Takes what a reward function wants to log; an environment has no place for it."""
