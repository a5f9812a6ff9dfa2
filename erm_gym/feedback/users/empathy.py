"""The empathy user: content with what a reply makes one feel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from erm_gym.emotion import CriticError, EmotionalCritic, EmotionalRewardModel, shipped_names
from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.episode_reading import messages_before, reply_states
from erm_gym.feedback.feelings import FEELINGS, feelings_of, load_short_erm, read_off
from erm_gym.feedback.reading import read_replies
from erm_gym.llm import FrozenLLM

WEIGHTS = {"joy": 0.5, "curiosity": 0.2, "fear": -0.35, "anger": -0.35, "valence": 0.3}
"""What each feeling adds to the score; what is good, and what is bad, adds up to 1."""


class FeelingReader(Protocol):
    """Whatever reads feelings off replies."""

    def __call__(self, episodes: Sequence[Episode]) -> Tensor:
        """`[N, 5]` in the order of `FEELINGS`; emotions in [0, 1], valence in [-1, 1]."""
        ...


class EmpathyUser:
    """Likes replies that please and dislikes those that frighten or anger, as the ERM reads them.

    The Emotional Reward Model reads the reply behind what was said before, and finds joy,
    curiosity, fear and anger in [0, 1], and the valence v in [-1, 1] (EmoBank's rating less 3):

        score = 0.5 joy + 0.2 curiosity - 0.35 fear - 0.35 anger + 0.3 v

    Each term is a component, named for its feeling. Silence is felt as nothing: score 0.

    By default a short ERM reads the one layer that environments keep: it was trained to say what
    the shipped ERM says, and agrees with it closely (the card in `erm_gym/feedback/weights`). With
    `exact` the critic's own ERM reads its three layers, for which the LM has to read the
    conversation again, at many times the cost.

    The ERM knows what a text expresses, and takes that for what it makes one feel: condolence,
    which speaks of sadness, scores low. English only.

    Attributes:
        reader: Reads the feelings.

    Source: our own.
    """

    def __init__(self, reader: FeelingReader) -> None:
        self.reader = reader

    @classmethod
    def for_llm(
        cls, llm: FrozenLLM, *, exact: bool = False, critic: str = "default"
    ) -> EmpathyUser:
        """The user with the readings that belong to a frozen LM.

        Args:
            llm: The frozen LM.
            exact: Whether a critic's own ERM reads.
            critic: Which critic, with `exact`: `default` for the one shipped for this LM, or
                whatever `EmotionalCritic.from_pretrained` takes.

        Raises:
            UserError: If there is no trained ERM for this LM.
        """
        if exact:
            return cls(CriticReader(llm, _trained_critic(llm, critic)))
        if critic != "default":
            raise UserError(f"the user 'empathy' reads with critic={critic!r} only if exact=True")
        return cls(ShortReader(llm, load_short_erm(llm)))

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Reads the replies together; draws nothing from `rng`."""
        feelings = self.reader(episodes).tolist()
        return [
            _feedback(episode.reply, row) for episode, row in zip(episodes, feelings, strict=True)
        ]


class ShortReader:
    """Reads feelings with an ERM of one layer."""

    def __init__(self, llm: FrozenLLM, erm: EmotionalRewardModel) -> None:
        self.llm = llm
        self.erm = erm

    def __call__(self, episodes: Sequence[Episode]) -> Tensor:
        """See `FeelingReader`."""
        states = [own[:, None] for own in reply_states(self.llm, episodes)]  # [T, 1, d]
        return feelings_of(read_off(self.erm, states))


class CriticReader:
    """Reads feelings with the ERM of a critic."""

    def __init__(self, llm: FrozenLLM, critic: EmotionalCritic) -> None:
        self.llm = llm
        self.critic = critic

    def __call__(self, episodes: Sequence[Episode]) -> Tensor:
        """See `FeelingReader`."""
        read = read_replies(
            self.llm,
            [messages_before(episode) for episode in episodes],
            [episode.reply for episode in episodes],
            layers=self.critic.config.layers,
            template_once=True,
        )
        own = [self.critic.split_layers(reply)[0] for _, reply in read]  # [T, K, d]
        return feelings_of(read_off(self.critic.erm, own))


def _feedback(reply: str, feelings: Sequence[float]) -> Feedback:
    felt = bool(reply.strip())
    components = {
        name: WEIGHTS[name] * value if felt else 0.0
        for name, value in zip(FEELINGS, feelings, strict=True)
    }
    return Feedback(
        score=float(np.clip(sum(components.values()), -1.0, 1.0)), components=components
    )


def _trained_critic(llm: FrozenLLM, name: str) -> EmotionalCritic:
    if name == "default" and llm.name not in shipped_names():
        raise UserError(
            f"the user 'empathy' has no trained emotional critic for {llm.name!r}; train one with "
            "erm-gym erm train and give its folder as critic=FOLDER, or use another user"
        )
    try:
        critic = EmotionalCritic.from_pretrained(llm.name if name == "default" else name, llm=llm)
    except CriticError as error:
        raise UserError(f"the user 'empathy' cannot use its critic: {error}") from error
    if not (critic.config.trained and critic.config.erm.affect):
        raise UserError(
            f"the user 'empathy' needs a critic whose ERM is trained and rates valence; {name!r} "
            "is none; train one with erm-gym erm train"
        )
    return critic
