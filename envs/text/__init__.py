"""The frozen LM as a Markov decision process over text."""

from erm_gym.envs.text.base import TextSnapshot, TextVectorEnv
from erm_gym.envs.text.candidate import CandidateGenerationVectorEnv
from erm_gym.envs.text.control import EmotionControlVectorEnv
from erm_gym.envs.text.conversation import ConversationVectorEnv
from erm_gym.envs.text.options import (
    CandidateOptions,
    ControlOptions,
    ConversationOptions,
    OptionError,
    TextEnvOptions,
)
from erm_gym.envs.text.recording import RecordingError, RecordTranscripts
from erm_gym.envs.text.rows import EpisodeStart
from erm_gym.envs.text.token import TokenGenerationVectorEnv

__all__ = [
    "CandidateGenerationVectorEnv",
    "CandidateOptions",
    "ControlOptions",
    "ConversationOptions",
    "ConversationVectorEnv",
    "EmotionControlVectorEnv",
    "EpisodeStart",
    "OptionError",
    "RecordTranscripts",
    "RecordingError",
    "TextEnvOptions",
    "TextSnapshot",
    "TextVectorEnv",
    "TokenGenerationVectorEnv",
]
