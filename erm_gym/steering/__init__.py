"""Emotion steering: signals and directions that are put into the hidden states of a frozen LM."""

from erm_gym.steering.affect import AffectSteering
from erm_gym.steering.binning import BINNINGS, Binning, grids
from erm_gym.steering.config import Approach, SteeringConfig, SteeringError
from erm_gym.steering.contrastive import ContrastiveDirections, contrastive_directions
from erm_gym.steering.feedback import FeedbackConnections
from erm_gym.steering.feedback_fitting import fit_feedback
from erm_gym.steering.fitted import FittedSteering
from erm_gym.steering.generation import SteeredReply, generate_steered
from erm_gym.steering.pathway_fitting import fit_pathways
from erm_gym.steering.pathways import Affect, AffectPathways
from erm_gym.steering.reading import RatedStates
from erm_gym.steering.signals import Correlation, SignalError, SteeringSignals, extract_signals
from erm_gym.steering.upper import LowerStates, UpperLayers

__all__ = [
    "BINNINGS",
    "Affect",
    "AffectPathways",
    "AffectSteering",
    "Approach",
    "Binning",
    "ContrastiveDirections",
    "Correlation",
    "FeedbackConnections",
    "FittedSteering",
    "LowerStates",
    "RatedStates",
    "SignalError",
    "SteeredReply",
    "SteeringConfig",
    "SteeringError",
    "SteeringSignals",
    "UpperLayers",
    "contrastive_directions",
    "extract_signals",
    "fit_feedback",
    "fit_pathways",
    "generate_steered",
    "grids",
]
