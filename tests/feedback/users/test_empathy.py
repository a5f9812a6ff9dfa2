"""The empathy user: feelings become scores by hand, and both ways of reading them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from erm_gym.emotion import AFFECT, EMOTIONS, EmotionalCritic, ERMConfig
from erm_gym.feedback import Episode, Feedback, Prompt, UserError
from erm_gym.feedback.feelings import FEELINGS, read_feelings
from erm_gym.feedback.reading import LONGEST_REPLY
from erm_gym.feedback.users.empathy import WEIGHTS, EmpathyUser, HeadReader
from erm_gym.llm import FrozenLLM, load_llm

REPLIES = ["How nice!", "Shut up, I said.", "", "And so on and on " * 8]


class FakeReader:
    """Reads the feelings that it was told."""

    def __init__(self, *rows: Sequence[float]) -> None:
        self.rows = np.array(rows, np.float32)

    def __call__(self, episodes: Sequence[Episode]) -> np.ndarray:
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
    rows = [(1, 1, 0, 0, 1), (0, 0, 1, 1, -1), (0, 0, 0, 0, 0), (0.4, 0.5, 0.2, 0.1, -0.3)]
    best, worst, calm, mixed = ask(EmpathyUser(FakeReader(*rows)), "a", "b", "c", "d")
    assert (best.score, worst.score, calm.score) == pytest.approx((1.0, -1.0, 0.0))
    assert dict(mixed.components) == pytest.approx(
        {"joy": 0.2, "curiosity": 0.1, "fear": -0.07, "anger": -0.035, "valence": -0.09}
    )
    assert mixed.score == pytest.approx(0.105)


def test_silence_is_felt_as_nothing() -> None:
    for feedback in ask(EmpathyUser(FakeReader((1, 1, 1, 1, 1), (1, 0, 0, 0, 1))), "", "  \n"):
        assert feedback.score == 0.0 and set(feedback.components.values()) == {0.0}


def test_the_head_gives_logits_and_a_valence(llm: FrozenLLM) -> None:
    user = EmpathyUser.for_llm(llm)
    assert isinstance(user.reader, HeadReader)
    head = user.reader.head
    outputs = head.read(episodes(*REPLIES))
    expected = np.concatenate([1.0 / (1.0 + np.exp(-outputs[:, :4])), outputs[:, 4:]], -1)
    np.testing.assert_allclose(user.reader(episodes(*REPLIES)), expected.clip(-1, 1), atol=1e-6)
    assert len({each.score for each in ask(user, *REPLIES)}) == len(REPLIES)


def test_feelings_are_what_the_erm_reads_behind_the_prompt(
    llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    """One text at a time, step by step, by the path that acting takes."""
    told: list[tuple[int, int]] = []
    feelings = read_feelings(llm, critic, ["Well?"] * 4, REPLIES, lambda *where: told.append(where))
    assert told == [(4, 4)]
    assert feelings[2].tolist() == [0.0] * 5
    for row in (0, 1, 3):
        start, end = llm.encode_prompt("Well?"), llm.encode_text(REPLIES[row])[:LONGEST_REPLY]
        ids = torch.tensor([start + end])
        with torch.no_grad():
            hidden = llm.model(input_ids=ids, output_hidden_states=True).hidden_states
            states = torch.stack([hidden[layer][0] for layer in (1, 2, 3)], 1)[len(start) :]
            state = critic.erm.initial_state(1)
            for position in states:
                _, state = critic.erm.step(position[None], state)
            reading = critic.erm.read_off(state.pool)
        emotions = dict(zip(EMOTIONS, reading.emotions[0].tolist(), strict=True))
        valence = float(reading.affect[0, AFFECT.index("valence")]) - 3.0
        expected = [emotions[name] for name in FEELINGS[:4]] + [min(1.0, max(-1.0, valence))]
        torch.testing.assert_close(feelings[row], torch.tensor(expected), atol=1e-4, rtol=1e-4)
    assert float(feelings[[0, 1, 3]].std(0).min()) > 1e-5


def test_the_exact_user_reads_with_any_trained_critic(
    llm: FrozenLLM, critic: EmotionalCritic, tmp_path: Path
) -> None:
    critic.save_pretrained(tmp_path)
    user = EmpathyUser.for_llm(llm, exact=True, critic=str(tmp_path))
    expected = read_feelings(llm, critic, ["Well?"] * 4, REPLIES)
    for row, feedback in zip(expected, ask(user, *REPLIES), strict=True):
        assert dict(feedback.components) == pytest.approx(
            {name: WEIGHTS[name] * float(v) for name, v in zip(FEELINGS, row, strict=True)},
            abs=1e-5,
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


@pytest.mark.real_model
def test_the_shipped_head_and_the_erm_agree() -> None:
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
