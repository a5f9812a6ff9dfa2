"""A finished reply and what the user makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from erm_gym.feedback import Episode, Feedback


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """A finished reply and what the user makes of it."""

    episode: Episode
    """What the user saw."""
    feedback: Feedback
    """What it answered."""

    def info(self) -> dict[str, Any]:
        """What an environment tells of it."""
        return {
            "transcript": self.episode.reply,
            "judged_episode": self.episode,
            "user_feedback": self.feedback,
            "feedback": float(self.feedback.score) if self.feedback.given else math.nan,
            "feedback_given": self.feedback.given,
            "stance": self.feedback.stance,
            "components": {name: float(part) for name, part in self.feedback.components.items()},
        }
