"""The frozen LM as a Markov decision process over text."""

from erm_gym.envs.text.candidate import CandidateGenerationVectorEnv
from erm_gym.envs.text.critic_observation import CriticObservation
from erm_gym.envs.text.options import OptionError, TextEnvOptions
from erm_gym.envs.text.token import TokenGenerationVectorEnv

__all__ = [
    "CandidateGenerationVectorEnv",
    "CriticObservation",
    "OptionError",
    "TextEnvOptions",
    "TokenGenerationVectorEnv",
]
