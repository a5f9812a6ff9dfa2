"""Texts with the emotions of each token: written by an LM, or read by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from erm_gym.emotion import CriticError, EmotionalCritic, ModulationConfig
from erm_gym.emotion.generation import EmotionalText, generate_emotional, read_emotional
from erm_gym.llm import FrozenLLM, LLMError, load_llm, read_layers
from erm_gym.llm.frozen import Messages
from erm_gym.llm.tiny import build_tiny_model, build_tiny_tokenizer

PROMPTS: tuple[Messages, ...] = (
    "How do I bake?",
    [{"role": "user", "content": "Is it safe to sell it?"}],
)


@pytest.fixture(scope="module")
def tiny() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture
def critic(tiny: FrozenLLM) -> EmotionalCritic:
    """One that feels much, and whose bias on every token depends on it."""
    critic = EmotionalCritic.for_llm(tiny)
    generator = torch.Generator().manual_seed(0)
    last: Any = critic.fear_module.danger_net[-1]
    nn.init.normal_(critic.erm.heads.weight, std=2.0, generator=generator)
    nn.init.normal_(last.weight, generator=generator)
    nn.init.normal_(critic.modulator.W, std=8.0, generator=generator)
    return critic


def states(llm: FrozenLLM, critic: EmotionalCritic, tokens: list[int]) -> Tensor:
    """Hidden states `[1, T, L, d]` behind the beginning of the template."""
    return read_layers(llm, [tokens], critic.config.layers, shared=llm.template)[0][None]


def assert_felt(
    reply: EmotionalText, llm: FrozenLLM, critic: EmotionalCritic, prompt: Any, tonic: float = 0.0
) -> None:
    """What is felt at each token is what the critic feels after all that stands before it."""
    asked = llm.encode_prompt(prompt)
    hidden = states(llm, critic, [*asked, *reply.tokens])
    end = len(asked) - len(llm.template)
    state = critic.initial_state(1)
    state.tonic_fear.fill_(tonic)
    with torch.no_grad():
        signals, fear, state = critic.observe(hidden[:, :end], state)
        for number in range(len(reply.tokens)):
            torch.testing.assert_close(
                reply.signals.tensor[number], signals.tensor[0], atol=1e-4, rtol=0
            )
            torch.testing.assert_close(reply.fear[number], fear[0], atol=1e-4, rtol=0)
            signals, fear, state = critic.observe(hidden[:, end + number, None], state)


def test_replies_have_the_emotions_of_each_token(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    replies = generate_emotional(tiny, critic, PROMPTS, max_new_tokens=6, tonic_fear=0.6)
    assert len(replies) == 2
    for reply, prompt in zip(replies, PROMPTS, strict=True):
        count = len(reply.tokens)
        assert (reply.signals.shape, reply.fear.shape) == ((count, 6), (count, 2))
        assert "".join(reply.pieces) == reply.text == tiny.decode(reply.tokens)
        assert len(reply.pieces) == count
        assert reply.total_fear == reply.fear.max(dim=-1).values.tolist()
        assert_felt(reply, tiny, critic, prompt, tonic=0.6)
        [alone] = generate_emotional(tiny, critic, [prompt], max_new_tokens=6, tonic_fear=0.6)
        assert alone.tokens == reply.tokens


def test_one_prompt_is_one_reply(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    [reply] = generate_emotional(tiny, critic, "How do I bake?", max_new_tokens=3)
    [listed] = generate_emotional(tiny, critic, ["How do I bake?"], max_new_tokens=3)
    assert reply.tokens == listed.tokens
    assert generate_emotional(tiny, critic, []) == []


def test_strength_zero_is_the_lm_alone(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    [reply] = generate_emotional(tiny, critic, "How do I bake?", max_new_tokens=6, strength=0.0)
    tokens = tiny.encode_prompt("How do I bake?")
    for token in reply.tokens:
        assert token == int(tiny.recompute(tokens)[0][-1].argmax())
        tokens.append(token)
    [biased] = generate_emotional(tiny, critic, "How do I bake?", max_new_tokens=6)
    assert biased.tokens != reply.tokens


def test_a_reply_ends_with_its_turn(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    """More fear than the calmest reply has ends a turn here."""
    prompts = ["Hi", "How do I bake bread at home?", "Sell!", "Buy it now", "a"]
    alone = generate_emotional(tiny, critic, prompts, max_new_tokens=5, strength=0.0)
    calmest = min(float(reply.signals.fear.max()) for reply in alone)
    [end] = tiny.end_of_turn
    nn.init.zeros_(critic.modulator.W)
    critic.modulator.set_category("cautious", [end])
    critic.modulator.config = ModulationConfig(rule_gain=1000.0, rule_threshold=calmest + 1e-4)
    replies = generate_emotional(tiny, critic, prompts, max_new_tokens=5)
    assert {1, 5} <= {len(reply.tokens) for reply in replies}
    for reply in replies:
        ends = [token == end for token in reply.tokens]
        assert ends == (reply.signals.fear > calmest + 1e-4).tolist()
        assert not any(ends[:-1])
        assert "".join(reply.pieces) == reply.text == tiny.decode(reply.tokens)


def test_sampling_follows_its_seed_alone(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    def write(seed: int) -> list[int]:
        sampled = GenerationConfig(do_sample=True, temperature=2.0)
        [reply] = generate_emotional(
            tiny, critic, "Hello", max_new_tokens=8, generation=sampled, seed=seed, strength=0.1
        )
        assert sampled.max_new_tokens is None
        return reply.tokens

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = write(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert write(seed=1) == first
    assert write(seed=2) != first


def test_the_temperature_acts(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    """At next to no temperature sampling is greedy."""
    cold = type(critic.temperature_modulator.config)(base=0.002, minimum=0.001)
    critic.temperature_modulator.config = cold
    sampled = GenerationConfig(do_sample=True)
    options: dict[str, Any] = {"max_new_tokens": 6, "generation": sampled}
    [greedy] = generate_emotional(tiny, critic, "Hello", max_new_tokens=6)
    [sure] = generate_emotional(tiny, critic, "Hello", temperature=True, **options)
    assert sure.tokens == greedy.tokens


def test_what_cannot_be_written_is_refused(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    with pytest.raises(LLMError, match="empty"):
        generate_emotional(tiny, critic, ["Hello", " "])
    with pytest.raises(LLMError, match="more than the 512 that tiny reads"):
        generate_emotional(tiny, critic, "Hello", max_new_tokens=500)
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        generate_emotional(tiny, critic, "Hello", max_new_tokens=0)
    for name in ("num_beams", "num_return_sequences"):
        config = GenerationConfig(do_sample=True, **{name: 2})
        with pytest.raises(ValueError, match=rf"GenerationConfig\.{name} is 2"):
            generate_emotional(tiny, critic, "Hello", generation=config)
    wider: Any = build_tiny_model()
    wider.resize_token_embeddings(300, mean_resizing=False)
    other = FrozenLLM(wider, build_tiny_tokenizer(), name="wider", source="code")
    with pytest.raises(CriticError, match="vocabulary size 259 and not 300"):
        generate_emotional(other, critic, "Hello")


def test_reading_is_observing_one_by_one(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    read = read_emotional(tiny, critic, "  Is it safe?\n")
    tokens = tiny.encode_prompt("Is it safe?")
    assert read.tokens == tokens[len(tiny.template) :]
    assert read.text == "".join(read.pieces) == "Is it safe?"
    assert read.pieces[: len("Is it safe?")] == list("Is it safe?")  # a token is a byte
    assert set(read.pieces[len("Is it safe?") :]) == {""}
    assert read.signals.shape == (len(read.tokens), 6)
    hidden, state = states(tiny, critic, tokens), critic.initial_state(1)
    with torch.no_grad():
        for position in range(len(read.tokens)):
            signals, fear, state = critic.observe(hidden[:, position, None], state)
            assert torch.equal(read.signals.tensor[position], signals.tensor[0])
            assert torch.equal(read.fear[position], fear[0])
        config = critic.config
        own = [config.layers.index(layer) for layer in config.erm.layers]
        whole, _ = critic.erm(hidden[:, :, own])
    others = [1, 2, 3, 5]  # no fear, no anxiety
    torch.testing.assert_close(read.signals.tensor[:, others], whole.tensor[0][:, others])


def test_what_cannot_be_read_is_refused(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    with pytest.raises(LLMError, match="empty"):
        read_emotional(tiny, critic, "\n")
    with pytest.raises(LLMError, match="reads at most 512"):
        read_emotional(tiny, critic, "a" * 512)
