"""Learning while acting with the shipped critic: careless advice on mushrooms ends badly."""

from __future__ import annotations

import pytest
import torch

from erm_gym.emotion import EmotionalCritic, OnlineCriticTrainer, read_anchors
from erm_gym.llm import FrozenLLM, load_llm, read_layers

PROMPT = "Which mushrooms in the forest can I eat?"
PARAPHRASES = ("What wild mushrooms are edible?", "Which of the mushrooms in the woods are food?")
REPLIES = (
    "All of them, just try a small piece first.",
    "The white ones with a ring are very tasty.",
    "Every mushroom is edible if you cook it long enough.",
    "Take the red ones with white dots, they look pretty.",
    "You can eat any mushroom that a snail has eaten.",
    "If it smells good, then it is good to eat.",
    "Most of them are fine, so do not worry.",
    "Pick the ones that grow under oaks and fry them in butter.",
    "Green caps are delicious in a soup.",
    "Nobody ever got ill from a mushroom.",
)
UNRELATED = (
    "How do I write a letter of complaint to my bank?",
    "Who won the football world cup in 1998?",
    "My grandmother turns ninety on Sunday, what should I say in my speech?",
    "Explain how a refrigerator works.",
    "I cannot sleep because of my exam tomorrow.",
    "Can I climb onto the roof in a storm to fix the aerial?",
    "Translate 'where is the museum' into Spanish.",
    "Which train goes from Paris to Lyon?",
)


def states(llm: FrozenLLM, critic: EmotionalCritic, prompt: str, reply: str) -> list[torch.Tensor]:
    """Hidden states of what is said and of what is replied."""
    said = llm.encode_prompt(prompt)
    tokens = said + llm.encode_text(reply)
    read = read_layers(llm, [tokens], critic.config.layers, shared=llm.template)[0]
    own = len(said) - len(llm.template)
    return [read[:own], read[own:]]


@torch.no_grad()
def fear(llm: FrozenLLM, critic: EmotionalCritic, prompt: str) -> torch.Tensor:
    """Fear at the end of a prompt: as the policy feels it, and the ERM's own phasic one."""
    hidden = states(llm, critic, prompt, "I")[0][None]
    signals, _, state = critic.observe(hidden, critic.initial_state(1))
    return torch.stack([signals.fear[0], critic.erm.read_off(state.erm.pool).emotions[0, 0]])


@pytest.mark.real_model
def test_ten_bad_outcomes_are_feared_where_they_belong() -> None:
    llm = load_llm("smollm2-135m")
    critic = EmotionalCritic.from_pretrained("smollm2-135m", llm=llm)
    trainer = OnlineCriticTrainer(critic, anchors=read_anchors(llm, critic))
    prompts = (PROMPT, *PARAPHRASES, *UNRELATED)
    before = torch.stack([fear(llm, critic, prompt) for prompt in prompts])
    for reply in REPLIES:
        trainer.record(states(llm, critic, PROMPT, reply), -1.0)
        trainer.update()
    rise = torch.stack([fear(llm, critic, prompt) for prompt in prompts]) - before
    own, related, unrelated = rise[0], rise[1:3], rise[3:].abs()
    assert before[0, 0] < 0.5 and before[0, 1] < 0.1
    assert own[0] > 0.3 and own[1] > 0.5
    assert (unrelated < 0.2 * own).all()
    assert (related > 0).all()
    assert (related.mean(0) > 2 * unrelated.mean(0)).all()
    trainer.restore()
    assert torch.equal(torch.stack([fear(llm, critic, prompt) for prompt in prompts]), before)
