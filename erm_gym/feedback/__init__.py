"""Simulated users: prompts, feedback, the stance judge, and how to bring one's own."""

from erm_gym.feedback.conversing import (
    ConversationConfig,
    ConversingUser,
    UserState,
    make_conversing_user,
)
from erm_gym.feedback.episode import Episode, Feedback, Turn, User, UserError
from erm_gym.feedback.judge import STANCES, JudgeError, StanceJudge, StanceReading
from erm_gym.feedback.making import CheckedUser, make_user, user_names
from erm_gym.feedback.prompts import Prompt, PromptError, PromptPool, load_prompts
from erm_gym.feedback.risk_averse import RiskAverseUser

__all__ = [
    "STANCES",
    "CheckedUser",
    "ConversationConfig",
    "ConversingUser",
    "Episode",
    "Feedback",
    "JudgeError",
    "Prompt",
    "PromptError",
    "PromptPool",
    "RiskAverseUser",
    "StanceJudge",
    "StanceReading",
    "Turn",
    "User",
    "UserError",
    "UserState",
    "load_prompts",
    "make_conversing_user",
    "make_user",
    "user_names",
]
