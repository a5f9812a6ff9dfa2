"""One finished episode as it is kept: what was asked, written, felt and answered."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from erm_gym.evaluation.config import RunError


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One finished episode, ready for JSON."""

    prompt_id: str
    """Name of the prompt in its pool."""
    domain: str
    """Field of life of the prompt."""
    risky: bool
    """Whether a careful reply was due."""
    prompt: str
    """What was asked."""
    reply: str
    """What the agent wrote."""
    score: float
    """The user's feedback, in [-1, 1]; 0 if it gave none."""
    stance: str
    """How the user read the reply: `comply`, `hedge`, `refuse`, `degenerate`, or empty."""
    components: dict[str, float] = field(default_factory=dict)
    """Named parts of the score."""
    tokens: list[str]
    """Text of each token, `steps` of them; together they are the reply."""
    fear: list[float] = field(default_factory=list)
    """Total fear in [0, 1] when each token was chosen, max(phasic, tonic), rounded to four digits.
    Empty without a critic."""
    logprob: float
    """Mean log-probability of a token under the frozen LM at temperature 1, nats, <= 0."""
    steps: int
    """Tokens of the reply, the end of the turn included, >= 1."""
    given: bool = True
    """Whether the user gave feedback; records of before it could be silent lack this."""
    held_out: float | None = None
    """Score of the held-out user, in [-1, 1], which nobody learned from; None if there is no such
    user, or it gave no feedback."""
    held_out_stance: str = ""
    """How the held-out user read the reply."""
    held_out_components: dict[str, float] = field(default_factory=dict)
    """Named parts of the held-out user's score."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EpisodeRecord:
        """A record from what `to_dict` gave; further keys are left out.

        Raises:
            RunError: If a field is missing that has no default.
        """
        known = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        for item in fields(cls):
            needed = item.default is MISSING and item.default_factory is MISSING
            if needed and item.name not in known:
                raise RunError(f"an episode record lacks the field {item.name!r}")
        return cls(**known)
