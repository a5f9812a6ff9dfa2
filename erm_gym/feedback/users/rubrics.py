"""Rubric functions as of the verifiers library as users, and users as rubric functions.

A rubric function says by the names of its arguments what it wants to know (`prompt`, `completion`,
`answer`, `state`, `info`, `task`, `parser`, a column of the data set; `**kwargs` for everything)
and returns a number. A rubric is several of them with weights; its reward is the weighted sum.
Neither direction imports verifiers. Functions that score a group of rollouts at once
(`completions`, `states`, ...) are refused: a batch here holds replies to different prompts.

Source: verifiers, `Rubric.score_rollout`. There a function that fails counts as 0; here that is an
error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.making import AnyUser
from erm_gym.feedback.prompts import Prompt
from erm_gym.feedback.users.asking import Askable, together
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

RubricFunction = Callable[..., Any]
"""Takes what it names and returns a number, or is async."""
GIVEN = ("prompt", "completion", "answer", "state", "info", "task", "parser")
"""What every rubric function may ask for by name."""


def from_rubric(
    functions: RubricFunction | Sequence[RubricFunction],
    weights: Sequence[float] | None = None,
    *,
    answer: Callable[[Prompt], Any] | None = None,
    objects: Mapping[str, Any] | None = None,
    conversational: bool = True,
    scale: float = 1.0,
    shift: float = 0.0,
    clip: bool = False,
) -> RubricUser:
    """A user from rubric functions.

        user = from_rubric(rubric.funcs, rubric.weights, objects=rubric.class_objects)

    Args:
        functions: One or several, which may be async; they are asked about each reply.
        weights: One per function; by default 1. A function of weight 0 is not rewarded.
        answer: The `answer` to a prompt; by default an empty text.
        objects: What else functions may ask for by name, such as a `parser` of verifiers; by
            default there is a `PlainParser`.
        conversational: Whether prompt and completion are lists of messages; otherwise they are
            text.
        scale: Factor of the weighted sum.
        shift: Added to it; the score is `scale * sum + shift`.
        clip: Whether a score beyond -1 or 1 is cut off; otherwise it is an error.

    Returns:
        The user. Components of its score are named for the functions. `risk`, `domain` and the
        other fields of `Prompt` are arguments of their own and are in `info`; `task` is the domain.

    Raises:
        UserError: If a function needs an argument that there is not, two have one name, or there
            is not one weight for each.
        ValueError: If scale or shift is no useful number.
    """
    return RubricUser(
        [functions] if callable(functions) else list(functions),
        weights,
        answer=answer,
        objects=objects or {},
        conversational=conversational,
        scaling=Scaling(scale=scale, shift=shift, clip=clip),
    )


class PlainParser:
    """What a function that asks for a `parser` gets: the text as it is."""

    def parse(self, text: str) -> str:
        """The text."""
        return text

    def parse_answer(self, completion: str | Sequence[Message]) -> str:
        """The last thing that the assistant says."""
        if isinstance(completion, str):
            return completion
        said = [message["content"] for message in completion if message["role"] == "assistant"]
        return str(said[-1]) if said else ""


class RubricUser(Askable):
    """What rubric functions say of a reply, weighted and added; see `from_rubric`.

    Attributes:
        name: Names of the functions, joined by a plus.
    """

    def __init__(
        self,
        functions: Sequence[RubricFunction],
        weights: Sequence[float] | None,
        *,
        answer: Callable[[Prompt], Any] | None,
        objects: Mapping[str, Any],
        conversational: bool,
        scaling: Scaling,
    ) -> None:
        if not functions:
            raise UserError("a rubric needs at least one function")
        offered = {*GIVEN, *PROMPT_COLUMNS, *objects}
        self._functions = [NamedFunction(function, offered) for function in functions]
        names = [function.name for function in self._functions]
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise UserError(f"{count} functions are called {name!r}; give each a name of its own")
        self._weights = [1.0] * len(names) if weights is None else [float(w) for w in weights]
        if len(self._weights) != len(names) or not np.isfinite(self._weights).all():
            raise UserError(f"weights must be {len(names)} numbers, one per function: {weights}")
        self._answer = answer
        self._objects = {"parser": PlainParser(), **objects}
        self._conversational = conversational
        self._scaling = scaling
        self.name = "+".join(names)

    @property
    def is_async(self) -> bool:
        """Whether one of the functions is awaited."""
        return any(function.is_async for function in self._functions)

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Asks every function about every episode; draws nothing from `rng`.

        Where one of them is awaited they are asked side by side.

        Raises:
            UserError: If a function fails or answers no number, or the score is out of range.
        """
        asked = []
        for episode in episodes:
            arguments = self._arguments(episode)
            where = f"for the prompt {episode.prompt.text!r}"
            asked += [function.ask(arguments, where) for function in self._functions]
        rewards = await together(asked) if self.is_async else [await one for one in asked]
        count = len(self._functions)
        return [
            self._feedback(episode, rewards[index * count : (index + 1) * count])
            for index, episode in enumerate(episodes)
        ]

    def _feedback(self, episode: Episode, rewards: Sequence[Any]) -> Feedback:
        parts: dict[str, float] = {}
        for function, weight, reward in zip(self._functions, self._weights, rewards, strict=True):
            try:
                parts[function.name] = self._scaling.scale * weight * float(reward)
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{function.name!r} answered {reward!r} for the prompt "
                    f"{episode.prompt.text!r}; expected a number"
                ) from error
        total = sum(parts.values())
        try:
            score = self._scaling.score(total / self._scaling.scale)
        except ValueError as error:
            raise UserError(
                f"{self.name!r}: {error}, for the prompt {episode.prompt.text!r}"
            ) from error
        if self._scaling.shift:
            parts["shift"] = self._scaling.shift
        clipped = score - total - self._scaling.shift
        if self._scaling.clip and abs(clipped) > 1e-9:
            parts["clipped"] = clipped
        return Feedback(score=score, components=parts)

    def _arguments(self, episode: Episode) -> dict[str, Any]:
        prompt, completion = messages_of(episode)
        if not self._conversational and episode.turns:
            raise UserError(
                f"{self.name!r} takes plain text, but the conversation that began with "
                f"{episode.prompt.text!r} has earlier turns; use conversational=True"
            )
        known = columns_of(episode.prompt)
        state = {
            "prompt": prompt if self._conversational else episode.said,
            "completion": completion if self._conversational else episode.reply,
            "answer": "" if self._answer is None else self._answer(episode.prompt),
            "info": known,
            "task": episode.prompt.domain,
        }
        return {**known, **state, "state": {**state, "turn": len(episode.turns)}, **self._objects}


def to_rubric(user: AnyUser, llm: FrozenLLM | str | None = None, *, seed: int = 0) -> RubricReward:
    """A rubric function from a user.

        rubric = verifiers.Rubric(funcs=[to_rubric("risk-averse", "smollm2-135m")])

    Args:
        user: What `make_user` takes.
        llm: The frozen LM that the user reads replies with, or its name; a user that is given by
            name, by a class or by an expression of these needs it.
        seed: What the user draws depends on this and on the text alone.

    Returns:
        The function; a score in [-1, 1], and 0 where the user gives no feedback, since a rubric
        needs a number. What `info`, or a column of the data set, says under the names of the
        fields of `Prompt` (`risk`, `domain`, ...) describes the prompt.

    Raises:
        UserError: If there is no such user, or the LM is missing.
    """
    return RubricReward(user, llm, seed=seed)


class RubricReward:
    """A user as a rubric function; see `to_rubric`."""

    def __init__(self, user: AnyUser, llm: FrozenLLM | str | None = None, *, seed: int = 0) -> None:
        self.user = checked_user(user, llm)
        self.seed = seed
        self.__name__ = self.user.name  # what a rubric calls it in its metrics

    def __call__(
        self,
        prompt: str | Sequence[Message],
        completion: str | Sequence[Message],
        info: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> float:
        """The score of one completion.

        Args:
            prompt: What was asked, text or messages.
            completion: What was written.
            info: What is known of the prompt.
            columns: More of it, and what else a rubric gives.

        Raises:
            UserError: If the user fails, or the sample cannot be shown to it.
        """
        known = {**columns, **(info or {})}
        episode = episode_of(prompt, completion, known, seed=self.seed)
        (answer,) = self.user([episode], np.random.default_rng(self.seed))
        return answer.score
