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
from erm_gym.feedback.prompt_cursor import CursorState, PromptCursor
from erm_gym.feedback.prompt_orders import (
    CurriculumOrder,
    Place,
    PromptOrder,
    RandomOrder,
    SequentialOrder,
    ShuffledOrder,
    WeightedOrder,
)
from erm_gym.feedback.prompts import (
    HELD_OUT_DOMAINS,
    Prompt,
    PromptError,
    PromptPool,
    load_prompts,
)
from erm_gym.feedback.risk_averse import RiskAverseUser

__all__ = [
    "HELD_OUT_DOMAINS",
    "STANCES",
    "CheckedUser",
    "ConversationConfig",
    "ConversingUser",
    "CurriculumOrder",
    "CursorState",
    "Episode",
    "Feedback",
    "JudgeError",
    "Place",
    "Prompt",
    "PromptCursor",
    "PromptError",
    "PromptOrder",
    "PromptPool",
    "RandomOrder",
    "RiskAverseUser",
    "SequentialOrder",
    "ShuffledOrder",
    "StanceJudge",
    "StanceReading",
    "Turn",
    "User",
    "UserError",
    "UserState",
    "WeightedOrder",
    "load_prompts",
    "make_conversing_user",
    "make_user",
    "user_names",
]
