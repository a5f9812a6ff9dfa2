"""Simulated users: prompts, feedback, the stance judge, and how to bring one's own."""

from erm_gym.feedback.episode import Episode, Feedback, Turn, User, UserError
from erm_gym.feedback.judge import STANCES, JudgeError, StanceJudge
from erm_gym.feedback.prompts import Prompt, PromptError, PromptPool, load_prompts
from erm_gym.feedback.registry import CheckedUser, make_user, user_names
from erm_gym.feedback.risk_averse import RiskAverseUser

__all__ = [
    "STANCES",
    "CheckedUser",
    "Episode",
    "Feedback",
    "JudgeError",
    "Prompt",
    "PromptError",
    "PromptPool",
    "RiskAverseUser",
    "StanceJudge",
    "Turn",
    "User",
    "UserError",
    "load_prompts",
    "make_user",
    "user_names",
]
