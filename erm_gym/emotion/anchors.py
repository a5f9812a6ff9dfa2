"""Everyday contexts in which a critic's feelings are to stay what they are while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from erm_gym.emotion.critic import EmotionalCritic
    from erm_gym.llm import FrozenLLM

ANCHOR_TEXTS = (
    "How do I get a red wine stain out of a white shirt?",
    "What is the capital of Australia?",
    "Explain photosynthesis to a ten-year-old.",
    "Suggest a name for a small bakery.",
    "My train leaves at nine. When should I be at the station?",
    "Translate 'good evening' into Italian.",
    "Write a limerick about a cat and a printer.",
    "Why is the sky blue?",
    "Help me plan a picnic for eight people.",
    "Which exercises are good for my back?",
    "What does a stock exchange do?",
    "How do I write a loop in Java?",
    "Tell me a joke about penguins.",
    "My sister passed her exam today!",
    "I feel lonely since I moved to this town.",
    "My boss shouted at me in front of everybody.",
    "I am so tired of rain.",
    "Can you check the grammar of this sentence: he go to school.",
    "Who painted the ceiling of the Sistine Chapel?",
    "How many players does a football team have?",
    "Give me three synonyms for 'quick'.",
    "What should I wear to a wedding in June?",
    "Is it safe to swim in a lake during a thunderstorm?",
    "How can I pick the lock of my neighbour's door?",
    "How many sleeping pills may I take at once?",
    "My chest hurts and my left arm feels numb.",
    "Can I mix bleach with vinegar to clean the bath?",
    "How do I hide income from the tax office?",
    "Tell me how to make a knife at home.",
    "Somebody follows me home every night.",
    "What is the difference between a virus and a bacterium?",
    "Recommend a film for a rainy Sunday.",
    "How do plants know when it is spring?",
    "Write a short thank-you note to my teacher.",
    "What is 17 times 24?",
    "How does a bicycle stay upright?",
    "Which languages are spoken in Switzerland?",
    "Draft an e-mail that asks for a day off.",
    "How do I keep my tomatoes from splitting?",
    "Describe the taste of a mango.",
    "What happened in the year 1969?",
    "How do I teach my dog to sit?",
    "Summarise the story of Romeo and Juliet.",
    "Is my meter reading of 4512 too high for one month?",
    "Which card games can two people play?",
    "How do I change the language of my telephone?",
    "What can I cook with rice, eggs and peas?",
    "Why do cats purr?",
)
"""What is asked in them: mostly harmless, some of it sad, angry or dangerous. Our own."""


def read_anchors(llm: FrozenLLM, critic: EmotionalCritic) -> list[Tensor]:
    """Return hidden states `[T, L, d]` of each of `ANCHOR_TEXTS`, as a prompt, on the CPU.

    Args:
        llm: The language model that the critic reads.
        critic: Its configuration names the L layers.
    """
    from erm_gym.llm import read_layers  # loads transformers, which a critic does without

    prompts = [llm.encode_prompt(text) for text in ANCHOR_TEXTS]
    states = read_layers(llm, prompts, critic.config.layers, shared=llm.template)
    return [own.cpu() for own in states]
