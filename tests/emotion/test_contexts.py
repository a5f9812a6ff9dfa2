"""What a critic had read when its fear is judged, against what it feels while it reads."""

from __future__ import annotations

import pytest
import torch

from erm_gym.emotion import CriticConfig, EmotionalCritic, ERMConfig
from erm_gym.emotion.contexts import contexts_after, fear_after, outputs_after


@pytest.fixture
def critic() -> EmotionalCritic:
    config = CriticConfig(
        llm_name="any",
        llm_fingerprint="0",
        hidden_size=16,
        vocab_size=9,
        layer=2,
        erm=ERMConfig(layers=(1, 3), labels=("a",), affect=True),
    )
    critic = EmotionalCritic(config).eval()
    torch.nn.init.normal_(critic.fear_module.danger_net.get_parameter("2.weight"))
    return critic


@torch.no_grad()
def test_they_are_what_the_critic_reads_turn_by_turn(critic: EmotionalCritic) -> None:
    turns = [torch.randn(length, 3, 16).bfloat16().float() for length in (5, 3, 4, 2)]
    contexts = contexts_after(turns, critic, max_positions=100)
    outputs = outputs_after(contexts, critic.erm, critic.fear_module.danger_net)
    fear = fear_after(contexts, critic)
    state = critic.initial_state(1)
    for number, turn in enumerate(turns):
        positions = [turn[None]] if number % 2 == 0 else [each[None, None] for each in turn]
        for hidden in positions:
            signals, _, state = critic.observe(hidden, state)
        torch.testing.assert_close(contexts[number].mean, state.context[0])
        torch.testing.assert_close(fear[number], signals.fear[0])
        reading = critic.erm.read_off(state.erm.pool)
        emotions, labels, affect = critic.erm.split(outputs[number, :-1])
        torch.testing.assert_close(emotions.sigmoid(), reading.emotions[0])
        torch.testing.assert_close(labels.sigmoid(), reading.labels[0])
        torch.testing.assert_close(affect, reading.affect[0])
        danger = critic.fear_module.danger(state.context)[0]
        torch.testing.assert_close(outputs[number, -1].sigmoid(), danger)


@torch.no_grad()
def test_one_by_one_is_the_same_as_many(critic: EmotionalCritic) -> None:
    texts = [torch.randn(length, 3, 16) for length in (5, 1, 70, 3, *range(2, 90))]
    contexts = [contexts_after([text], critic, max_positions=64)[0] for text in texts]
    assert max(len(context.states) for context in contexts) == 64
    net = critic.fear_module.danger_net
    together = outputs_after(contexts, critic.erm, net)
    alone = torch.cat([outputs_after([context], critic.erm, net) for context in contexts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    felt = torch.cat([fear_after([context], critic) for context in contexts])
    torch.testing.assert_close(fear_after(contexts, critic), felt, atol=1e-5, rtol=1e-4)
