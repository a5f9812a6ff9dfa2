"""Frozen language models: loading, a slot KV cache, and a tiny model for tests."""

from erm_gym.llm.frozen import FrozenLLM, LLMError
from erm_gym.llm.loading import DEFAULT_LLM, find_llm, load_llm
from erm_gym.llm.reading import read_layers
from erm_gym.llm.slot_output import SlotOutput
from erm_gym.llm.slots import Slots, SlotSnapshot, common_prefix

__all__ = [
    "DEFAULT_LLM",
    "FrozenLLM",
    "LLMError",
    "SlotOutput",
    "SlotSnapshot",
    "Slots",
    "common_prefix",
    "find_llm",
    "load_llm",
    "read_layers",
]
