"""The `erm-gym` command: train, evaluate, compare, demo, doctor."""

from erm_gym.cli.app import main

__all__ = ["main"]
