"""Options of the text environments, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from gymnasium.vector import AutoresetMode

from erm_gym.emotion import Clock, EmotionalCritic
from erm_gym.feedback import Prompt, PromptPool, User
from erm_gym.feedback.making import RewardFunction, check_name
from erm_gym.feedback.prompt_orders import (
    CURRICULUM_KEYS,
    ORDERS,
    CurriculumOrder,
    PromptOrder,
)
from erm_gym.feedback.users import Expression
from erm_gym.llm import DEFAULT_LLM, FrozenLLM
from erm_gym.llm.suggestion import suggest
from erm_gym.steering import ContrastiveDirections

PROMPT_ORDERS = tuple(ORDERS)
RENDER_MODES = ("ansi", "rgb_array")
CLOCKS = get_args(Clock)
ACTIONS = ("candidates", "tokens", "control")


class OptionError(ValueError):
    """An option of an environment is unknown or out of range."""


@dataclass(frozen=True, kw_only=True)
class TextEnvOptions:
    """What every text environment is made of."""

    llm: str | FrozenLLM = DEFAULT_LLM
    """The frozen LM, or the name that `load_llm` finds it by."""
    user: str | Expression | User | RewardFunction = "risk-averse"
    """Who gives the feedback: anything that `make_user` takes, such as a name, a function, or the
    text `"0.7*risk-averse + 0.3*my_module:my_user | noise(0.1)"`."""
    prompts: str | Path | Sequence[str | Prompt] | PromptPool = "default"
    """What is asked: anything that `load_prompts` takes."""
    split: str | None = None
    """`train`, `validation`, `test` or `all`; by default `train` for the package's own prompts and
    `all` for others. `test:weapons,drugs` are prompts of these domains alone, `train:-weapons` of
    all but this one, as `PromptPool.split` has it."""
    prompt_order: str = "random"
    """`random`: each row draws from its own generator. `shuffled`: each row goes through all
    prompts in a random order of its own, then in another. `weighted`: as `random`, but in
    proportion to the weights of the prompts. `curriculum`: each row draws from the easiest part of
    the pool, which grows with every episode that the row begins. In all of these row i depends on
    its own seed alone. `sequential`: of B rows, row i takes prompts i, i + B, i + 2 B, ... and
    begins again at the end, whatever the seed; for evaluation."""
    curriculum_key: str = "risk"
    """What makes a prompt hard in a curriculum: `risk` or `length`."""
    curriculum_episodes: int = 500
    """Episodes of a row after which a curriculum has come to all prompts, >= 1."""
    critic: str | EmotionalCritic | None = "default"
    """Who feels: `default` is the critic shipped for the LM (an untrained one where there is none),
    None leaves `emotion` and `fear` out of the observation."""
    online_critic: bool = False
    """Whether the user's feedback teaches the critic what to be afraid of, as
    `OnlineCriticTrainer` has it. The environment then feels with a copy of the critic."""
    keep_tonic_fear: bool | None = None
    """Whether tonic fear outlives an episode; None for what the critic's configuration says."""
    fear_clock: Clock | None = None
    """When tonic fear decays: with every `token`, `turn` or `episode`; None for what the critic's
    configuration says."""
    max_new_tokens: int = 20
    """Longest reply, in tokens, >= 1."""
    prior_temperature: float = 0.7
    """Temperature of the LM's log-probabilities, > 0; at 1 a small model soon loses the thread."""
    prior_weight: float = 0.0
    """Weight of log p_LM(token) in the reward of every step, >= 0."""
    dtype: str = "float32"
    """Precision of the LM, if it is given by name."""
    device: str = "cpu"
    """Device of the LM, if it is given by name."""
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP
    """What follows the end of a row's episode; see `gymnasium.vector.AutoresetMode`."""
    render_mode: str | None = None
    """`ansi` or `rgb_array`: the text so far, every token in the colour of its fear; or None."""
    seed: int | None = None
    """Seed of the first reset that is given none, >= 0."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            OptionError: It names the option, its value and what is allowed.
            UserError: If `user` is a text that cannot be read.
        """
        check_name(self.user)
        for name, valid, allowed in self._checks():
            if not valid:
                raise OptionError(f"{name} must be {allowed}, got {getattr(self, name)!r}")
        try:
            object.__setattr__(self, "autoreset_mode", AutoresetMode(self.autoreset_mode))
        except ValueError:
            allowed = ", ".join(repr(mode.value) for mode in AutoresetMode)
            raise OptionError(
                f"autoreset_mode must be one of {allowed}, got {self.autoreset_mode!r}"
            ) from None

    def _checks(self) -> list[tuple[str, bool, str]]:
        """Names of options, whether each is well, and what is allowed."""
        return [
            ("max_new_tokens", is_whole(self.max_new_tokens, 1), "a whole number, at least 1"),
            ("prior_temperature", positive(self.prior_temperature), "above 0 and finite"),
            ("prior_weight", not_negative(self.prior_weight), "at least 0 and finite"),
            ("prompt_order", self.prompt_order in PROMPT_ORDERS, f"one of {PROMPT_ORDERS}"),
            (
                "curriculum_key",
                self.curriculum_key in CURRICULUM_KEYS,
                f"one of {tuple(CURRICULUM_KEYS)}",
            ),
            (
                "curriculum_episodes",
                is_whole(self.curriculum_episodes, 1),
                "a whole number, at least 1",
            ),
            ("fear_clock", self.fear_clock in (None, *CLOCKS), f"one of {CLOCKS} or None"),
            (
                "online_critic",
                self.online_critic is False
                or (self.online_critic is True and self.critic is not None),
                "True or False, and False without a critic",
            ),
            ("render_mode", self.render_mode in (None, *RENDER_MODES), f"{RENDER_MODES} or None"),
            ("seed", self.seed is None or is_whole(self.seed, 0), "a whole number >= 0, or None"),
        ]

    def order_of(self, pool: PromptPool) -> PromptOrder:
        """In which order the prompts of a pool are asked.

        Raises:
            PromptError: If it is `weighted` and all weights are 0.
        """
        if self.prompt_order == "curriculum":
            return CurriculumOrder(pool, length=self.curriculum_episodes, key=self.curriculum_key)
        return ORDERS[self.prompt_order](pool)

    @classmethod
    def from_keywords(cls, **options: Any) -> Self:
        """Options from keywords.

        Raises:
            OptionError: If a keyword is unknown; it suggests the nearest.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                hint = suggest(name, known)
                raise OptionError(f"unknown option {name!r} of this environment; {hint}")
        return cls(**options)


@dataclass(frozen=True, kw_only=True)
class CandidateOptions(TextEnvOptions):
    """What `ErmGym/CandidateGeneration-v0` is made of."""

    k: int = 16
    """Candidates per step, in [2, V]."""
    top_p: float = 1.0
    """Nucleus: of the k candidates only the likeliest that together have this probability are
    offered, besides the end of the turn; in (0, 1], where 1 offers all k."""

    def _checks(self) -> list[tuple[str, bool, str]]:
        return [
            *super()._checks(),
            ("k", is_whole(self.k, 2), "a whole number, at least 2"),
            ("top_p", positive(self.top_p) and self.top_p <= 1, "in (0, 1]"),
        ]


@dataclass(frozen=True, kw_only=True)
class ControlOptions(TextEnvOptions):
    """What `ErmGym/EmotionControl-v0` is made of."""

    tokens_per_action: int = 5
    """Tokens that the LM samples under one action, >= 1."""
    pool_size: int = 64
    """Tokens that the LM samples from: its likeliest ones, in [2, V]."""
    steering: str | Path | ContrastiveDirections | None = None
    """Directions in the hidden states, or the folder that `erm-gym steer fit` wrote them into: an
    action then has a ninth part, how much of a direction is added. None for no such part."""
    steer_towards: str = "joy"
    """Emotion of the direction."""
    max_steering: float = 2.0
    """How much of the direction is added at most, > 0; 1 is the distance between texts that have
    the emotion and texts that do not."""

    def _checks(self) -> list[tuple[str, bool, str]]:
        return [
            *super()._checks(),
            (
                "tokens_per_action",
                is_whole(self.tokens_per_action, 1),
                "a whole number, at least 1",
            ),
            ("pool_size", is_whole(self.pool_size, 2), "a whole number, at least 2"),
            ("max_steering", positive(self.max_steering), "finite and above 0"),
        ]


@dataclass(frozen=True, kw_only=True)
class ConversationOptions(CandidateOptions, ControlOptions):
    """What `ErmGym/Conversation-v0` is made of."""

    actions: str = "candidates"
    """How replies are written: `candidates`, `tokens` or `control`, as the environment of that
    name has it."""
    max_turns: int = 4
    """Replies after which a conversation ends in any case, >= 1."""
    verdict_weight: float = 1.0
    """Weight of the user's verdict on the whole conversation in the last reward, >= 0."""
    fear_clock: Clock | None = "turn"
    """As in the other environments, but by default tonic fear decays with every turn: of what
    decays with every token nothing would be left at the next one."""

    def _checks(self) -> list[tuple[str, bool, str]]:
        return [
            *super()._checks(),
            ("actions", self.actions in ACTIONS, f"one of {ACTIONS}"),
            ("max_turns", is_whole(self.max_turns, 1), "a whole number, at least 1"),
            ("verdict_weight", not_negative(self.verdict_weight), "at least 0 and finite"),
        ]


def is_whole(value: object, least: int) -> bool:
    """Whether a value is a whole number, and no bool, of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        return False
    return int(value) >= least


def positive(value: object) -> bool:
    """Whether a value is a finite number above 0."""
    return not_negative(value) and value != 0


def not_negative(value: object) -> bool:
    """Whether a value is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return False
    return 0 <= float(value) < math.inf
