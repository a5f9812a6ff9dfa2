"""Emotion steering: signals and directions that are put into the hidden states of a frozen LM."""

from erm_gym.steering.contrastive import ContrastiveDirections, contrastive_directions

__all__ = ["ContrastiveDirections", "contrastive_directions"]
