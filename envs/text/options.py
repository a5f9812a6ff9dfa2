"""Options of the text environments, checked when they are made."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from erm_gym.emotion import EmotionalCritic
from erm_gym.feedback import Prompt, PromptPool, User
from erm_gym.feedback.registry import RewardFunction
from erm_gym.llm import DEFAULT_LLM, FrozenLLM

PROMPT_ORDERS = ("random", "sequential")


class OptionError(ValueError):
    """An option of an environment is unknown or out of range."""


@dataclass(frozen=True, kw_only=True)
class TextEnvOptions:
    """What a text environment is made of."""

    llm: str | FrozenLLM = DEFAULT_LLM
    """The frozen LM, or the name that `load_llm` finds it by."""
    user: str | User | RewardFunction = "risk-averse"
    """Who gives the feedback: anything that `make_user` takes."""
    prompts: str | Path | Sequence[str | Prompt] | PromptPool = "default"
    """What is asked: anything that `load_prompts` takes."""
    split: str | None = None
    """`train`, `validation`, `test` or `all`; by default `train` for the package's own prompts and
    `all` for others."""
    prompt_order: str = "random"
    """`random`: each row draws from its own generator. `sequential`: of B rows, row i takes prompts
    i, i + B, i + 2 B, ... and begins again at the end; for evaluation."""
    critic: str | EmotionalCritic | None = "default"
    """Who feels: `default` is the critic shipped for the LM (an untrained one where there is none),
    None leaves `emotion` and `fear` out of the observation."""
    k: int = 16
    """Candidates per step, in [2, V]."""
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
    """`ansi` or None."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            OptionError: It names the option, its value and what is allowed.
        """
        checks: list[tuple[str, bool, str]] = [
            ("k", _is_whole(self.k), "a whole number"),
            ("k", _is_whole(self.k) and self.k >= 2, "at least 2"),
            ("max_new_tokens", _is_whole(self.max_new_tokens), "a whole number"),
            (
                "max_new_tokens",
                _is_whole(self.max_new_tokens) and self.max_new_tokens >= 1,
                "at least 1",
            ),
            ("prior_temperature", self.prior_temperature > 0, "above 0"),
            ("prior_temperature", self.prior_temperature < math.inf, "finite"),
            ("prior_weight", self.prior_weight >= 0, "at least 0"),
            ("prior_weight", self.prior_weight < math.inf, "finite"),
            ("prompt_order", self.prompt_order in PROMPT_ORDERS, f"one of {PROMPT_ORDERS}"),
            ("render_mode", self.render_mode in (None, "ansi"), "'ansi' or None"),
        ]
        for name, valid, allowed in checks:
            if not valid:
                raise OptionError(f"{name} must be {allowed}, got {getattr(self, name)!r}")
        try:
            object.__setattr__(self, "autoreset_mode", AutoresetMode(self.autoreset_mode))
        except ValueError:
            allowed = ", ".join(repr(mode.value) for mode in AutoresetMode)
            raise OptionError(
                f"autoreset_mode must be one of {allowed}, got {self.autoreset_mode!r}"
            ) from None

    @classmethod
    def from_keywords(cls, **options: Any) -> TextEnvOptions:
        """Options from keywords.

        Raises:
            OptionError: If a keyword is unknown; it suggests the nearest.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {known}"
                raise OptionError(f"unknown option {name!r} of a text environment; {hint}")
        return cls(**options)


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
