"""Q-learners with emotional channels: the Emotional-ED agents, and what they are compared with."""

from erm_gym.agents.emotional_ed.channel import Channel, Draw, Emotion, Influence
from erm_gym.agents.emotional_ed.moments import Choice, Context, Situation, Transition
from erm_gym.agents.emotional_ed.q_learner import QConfig, QLearner

__all__ = [
    "Channel",
    "Choice",
    "Context",
    "Draw",
    "Emotion",
    "Influence",
    "QConfig",
    "QLearner",
    "Situation",
    "Transition",
]
