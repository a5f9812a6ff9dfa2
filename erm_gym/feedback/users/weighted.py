"""Several users whose scores are added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from erm_gym.feedback.episode import Episode, Feedback
from erm_gym.feedback.users.asking import Askable, together


class WeightedSum(Askable):
    """The weighted sum of what several users say of a reply.

    Who says nothing adds nothing; if nobody says anything, neither does the sum. Its components
    are those of the users, each with its weight and named `user.component`. It says what the first
    of them says that says something, leaves if one of them leaves, and takes a reply as the user
    with the greatest weight does that tells. Its verdict is the weighted sum of theirs.

    Those that are awaited are awaited together.

    Attributes:
        users: Who is asked.
        weights: What each answer weighs; their sizes add up to at most 1.
    """

    def __init__(self, users: Sequence[Askable], weights: Sequence[float], name: str) -> None:
        self.users = list(users)
        self.weights = list(weights)
        self.name = name
        self._labels = _labels([user.name for user in users])

    @property
    def is_async(self) -> bool:
        """Whether one of the users is awaited."""
        return any(user.is_async for user in self.users)

    @property
    def converses(self) -> bool:
        """Whether one of the users speaks for itself."""
        return any(user.converses for user in self.users)

    @property
    def draws(self) -> bool:
        """Whether one of the users draws."""
        return any(user.draws for user in self.users)

    @property
    def settles(self) -> bool:
        """Whether one of the users keeps feedback back until the last turn."""
        return any(user.settles for user in self.users)

    @property
    def needs_turns(self) -> tuple[str, ...]:
        """What of the users does nothing where an episode is a single reply."""
        return tuple(part for user in self.users for part in user.needs_turns)

    async def answer(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Asks all users, and adds up."""
        if self.is_async:
            # Those that wait begin first: the others work while they wait.
            order = sorted(range(len(self.users)), key=lambda one: not self.users[one].is_async)
            asked = await together(self.users[one].answer(episodes, rng) for one in order)
            answers = [given for _, given in sorted(zip(order, asked, strict=True))]
        else:
            answers = [await user.answer(episodes, rng) for user in self.users]
        return [self._add(row) for row in zip(*answers, strict=True)]

    def _add(self, answers: Sequence[Feedback]) -> Feedback:
        weighed = list(zip(self.weights, self._labels, answers, strict=True))
        score, parts = 0.0, {}
        for weight, label, answer in weighed:
            score += weight * answer.score
            if answer.given and not answer.components:
                parts[label] = weight * answer.score
            for name, part in answer.components.items():
                parts[f"{label}.{name}"] = weight * part
        verdicts = [weight * a.verdict for weight, _, a in weighed if a.verdict is not None]
        by_weight = sorted(weighed, key=lambda one: -abs(one[0]))
        return Feedback(
            score=_limited(score),
            components=parts,
            stance=next((a.stance for _, _, a in by_weight if a.stance), ""),
            says=next((answer.says for answer in answers if answer.says), ""),
            leaves=any(answer.leaves for answer in answers),
            verdict=_limited(sum(verdicts)) if verdicts else None,
            given=any(answer.given for answer in answers),
            fallback=any(answer.fallback for answer in answers),
        )


def _limited(value: float) -> float:
    """A number in [-1, 1] that rounding may have pushed out."""
    return min(1.0, max(-1.0, value))


def _labels(names: Sequence[str]) -> list[str]:
    """Names for components; a name that comes again gets a number."""
    labels: list[str] = []
    for name in names:
        count = sum(earlier == name for earlier in names[: len(labels)])
        labels.append(f"{name} ({count + 1})" if count else name)
    return labels
