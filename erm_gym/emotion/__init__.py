"""Emotions beside a frozen language model: what is felt, and how it moves the choice of a token."""

from erm_gym.emotion.anchors import read_anchors
from erm_gym.emotion.categories import CATEGORIES, category_ids
from erm_gym.emotion.checkpoint import shipped_names
from erm_gym.emotion.config import CriticConfig, CriticError
from erm_gym.emotion.critic import CriticState, EmotionalCritic
from erm_gym.emotion.detectors import DetectorReport, ranking_accuracy, train_detector
from erm_gym.emotion.erm import AFFECT, EmotionalRewardModel, ERMConfig, ERMState, Reading
from erm_gym.emotion.fear import Clock, FearConfig, FearModule
from erm_gym.emotion.modulation import (
    LogitModulator,
    ModulationConfig,
    TemperatureConfig,
    TemperatureModulator,
)
from erm_gym.emotion.online import OnlineCriticTrainer, OnlineTraining, OnlineUpdate
from erm_gym.emotion.signals import EMOTIONS, EmotionalSignals

__all__ = [
    "AFFECT",
    "CATEGORIES",
    "EMOTIONS",
    "Clock",
    "CriticConfig",
    "CriticError",
    "CriticState",
    "DetectorReport",
    "ERMConfig",
    "ERMState",
    "EmotionalCritic",
    "EmotionalRewardModel",
    "EmotionalSignals",
    "FearConfig",
    "FearModule",
    "LogitModulator",
    "ModulationConfig",
    "OnlineCriticTrainer",
    "OnlineTraining",
    "OnlineUpdate",
    "Reading",
    "TemperatureConfig",
    "TemperatureModulator",
    "category_ids",
    "ranking_accuracy",
    "read_anchors",
    "shipped_names",
    "train_detector",
]
