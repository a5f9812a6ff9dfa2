"""The empathy user: feelings become scores by hand, and both ways of reading them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.emotion import AFFECT, EMOTIONS, EmotionalCritic, EmotionalRewardModel, ERMConfig
from erm_gym.feedback import Episode, Feedback, Prompt, UserError
from erm_gym.feedback.feelings import FEELINGS, load_short_erm
from erm_gym.feedback.reading import LONGEST_REPLY
from erm_gym.feedback.users.empathy import WEIGHTS, EmpathyUser, ShortReader
from erm_gym.llm import FrozenLLM, load_llm

REPLIES = ["How nice!", "Shut up, I said.", "", "And so on and on " * 8]


class FakeReader:
    """Reads the feelings that it was told."""

    def __init__(self, *rows: Sequence[float]) -> None:
        self.rows = torch.tensor(rows)

    def __call__(self, episodes: Sequence[Episode]) -> torch.Tensor:
        return self.rows[: len(episodes)]


def episodes(*replies: str) -> list[Episode]:
    return [Episode(prompt=Prompt(text="Well?"), reply=reply) for reply in replies]


def ask(user: EmpathyUser, *replies: str) -> list[Feedback]:
    return user(episodes(*replies), np.random.default_rng(0))


@pytest.fixture
def critic(llm: FrozenLLM) -> EmotionalCritic:
    """An untrained critic that passes for a trained one, and feels more than nothing."""
    made = EmotionalCritic.for_llm(llm, erm=ERMConfig(layers=(1, 2, 3), affect=True))
    made.config = replace(made.config, trained=True)
    with torch.no_grad():
        made.erm.heads.weight.mul_(4.0)
        made.erm.heads.bias[len(EMOTIONS)] = 3.1
    return made


def test_weights_add_up_to_one_on_both_sides() -> None:
    assert tuple(WEIGHTS) == FEELINGS == ("joy", "curiosity", "fear", "anger", "valence")
    assert WEIGHTS["joy"] + WEIGHTS["curiosity"] + WEIGHTS["valence"] == pytest.approx(1.0)
    assert WEIGHTS["fear"] + WEIGHTS["anger"] - WEIGHTS["valence"] == pytest.approx(-1.0)


def test_score_by_hand() -> None:
    rows = [(1.0, 1, 0, 0, 1), (0, 0, 1, 1, -1), (0, 0, 0, 0, 0), (0.4, 0.5, 0.2, 0.1, -0.3)]
    best, worst, calm, mixed = ask(EmpathyUser(FakeReader(*rows)), "a", "b", "c", "d")
    assert (best.score, worst.score, calm.score) == pytest.approx((1.0, -1.0, 0.0))
    assert dict(mixed.components) == pytest.approx(
        {"joy": 0.2, "curiosity": 0.1, "fear": -0.07, "anger": -0.035, "valence": -0.09}
    )
    assert mixed.score == pytest.approx(0.105)


def test_silence_is_felt_as_nothing() -> None:
    for feedback in ask(EmpathyUser(FakeReader((1.0, 1, 1, 1, 1), (1, 0, 0, 0, 1))), "", "  \n"):
        assert feedback.score == 0.0 and set(feedback.components.values()) == {0.0}


def by_steps(erm: EmotionalRewardModel, states: torch.Tensor) -> list[float]:
    """Feelings after states `[T, K, d]`, read one by one: the path that acting takes."""
    state = erm.initial_state(1)
    for position in states:
        _, state = erm.step(position[None], state)
    reading = erm.read_off(state.pool)
    emotions = dict(zip(EMOTIONS, reading.emotions[0].tolist(), strict=True))
    valence = float(reading.affect[0, AFFECT.index("valence")]) - 3.0
    return [*(emotions[name] for name in FEELINGS[:4]), min(1.0, max(-1.0, valence))]


def states_of(llm: FrozenLLM, reply: str, layers: Sequence[int]) -> torch.Tensor:
    """Hidden states `[T, K, d]` of a reply behind the prompt."""
    start, end = llm.encode_prompt("Well?"), llm.encode_text(reply)[:LONGEST_REPLY]
    ids = torch.tensor([start + end])
    hidden = llm.model(input_ids=ids, output_hidden_states=True).hidden_states
    return torch.stack([hidden[layer][0] for layer in layers], 1)[len(start) :]


@torch.no_grad()
def test_the_short_erm_reads_what_the_environment_keeps(llm: FrozenLLM) -> None:
    user = EmpathyUser.for_llm(llm)
    assert isinstance(user.reader, ShortReader)
    from_text = user.reader(episodes(*REPLIES))
    for row, reply in zip(from_text, REPLIES, strict=True):
        states = states_of(llm, reply, [llm.layer])
        expected = by_steps(user.reader.erm, states) if reply else [0.0] * 5
        torch.testing.assert_close(row, torch.tensor(expected), atol=1e-4, rtol=1e-4)
        kept = Episode(
            prompt=Prompt(text="Well?"),
            reply=reply,
            hidden=states[:, 0].numpy(),
            llm_fingerprint=llm.fingerprint,
        )
        torch.testing.assert_close(user.reader([kept])[0], row, atol=1e-4, rtol=1e-4)
    assert len({each.score for each in ask(user, *REPLIES)}) == len(REPLIES)


@torch.no_grad()
def test_the_exact_user_reads_with_any_trained_critic(
    llm: FrozenLLM, critic: EmotionalCritic, tmp_path: Path
) -> None:
    critic.save_pretrained(tmp_path)
    user = EmpathyUser.for_llm(llm, exact=True, critic=str(tmp_path))
    for reply, feedback in zip(REPLIES, ask(user, *REPLIES), strict=True):
        states = states_of(llm, reply, critic.config.erm.layers)
        expected = by_steps(critic.erm, states) if reply else [0.0] * 5
        assert dict(feedback.components) == pytest.approx(
            {name: WEIGHTS[name] * v for name, v in zip(FEELINGS, expected, strict=True)}, abs=1e-4
        )


def test_errors_name_the_fix(
    llm: FrozenLLM, critic: EmotionalCritic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no trained emotional critic for 'tiny'; train one"):
        EmpathyUser.for_llm(llm, exact=True)
    with pytest.raises(UserError, match="only if exact=True"):
        EmpathyUser.for_llm(llm, critic=str(tmp_path))
    with pytest.raises(UserError, match="'empathy' cannot use its critic"):
        EmpathyUser.for_llm(llm, exact=True, critic=str(tmp_path / "missing"))
    critic.config = replace(critic.config, trained=False)
    critic.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="ERM is trained and rates valence"):
        EmpathyUser.for_llm(llm, exact=True, critic=str(tmp_path))
    monkeypatch.setattr(llm, "name", "stranger")
    with pytest.raises(UserError, match=r"'empathy'.*erm-gym erm train.*exact=True"):
        EmpathyUser.for_llm(llm)
    with pytest.raises(UserError, match=f"'empathy' cannot read its weights {tmp_path}"):
        load_short_erm(llm, tmp_path)


@pytest.mark.real_model
def test_the_shipped_short_erm_and_the_erm_agree() -> None:
    llm = load_llm("smollm2-135m", dtype="bfloat16")
    replies = [
        "Thank you so much, that is wonderful news! I love it!",
        "Shut up, you idiot. I hate you.",
        "Careful, that thing could kill you, I am terrified of it.",
    ]
    for user in (EmpathyUser.for_llm(llm), EmpathyUser.for_llm(llm, exact=True)):
        joyful, angry, frightful = ask(user, *replies)
        assert joyful.score > 0.3
        assert angry.score < -0.2 and angry.components["anger"] < -0.15
        assert frightful.score < -0.1 and frightful.components["fear"] < -0.1
