"""Training the critic: it learns the risk of prompts and not the caution of replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from erm_gym.emotion import EmotionalCritic
from erm_gym.emotion.training.contexts import labelled_contexts
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.emotion.training.labels import GOEMOTIONS, label_matrix
from erm_gym.feedback import Prompt, PromptPool
from erm_gym.feedback.critic_training import train_fear_module
from erm_gym.llm import FrozenLLM

SPLITS = ("train", "train", "validation", "test")


@pytest.fixture(scope="module")
def pool() -> PromptPool:
    """Pairs whose risk is in one letter: easy to read."""
    return PromptPool(
        tuple(
            Prompt(
                text=" ".join(letter * 3 + str(number) for _ in range(6)),
                risk=risk,
                pair_id=f"pair-{number}",
                prompt_id=f"{letter}-{number}",
                split=SPLITS[number % 4],
            )
            for number in range(64)
            for letter, risk in (("z", 1.0), ("a", 0.0))
        )
    )


def written(prompt: Prompt, stance: str, source: str = "written") -> dict[str, str]:
    reply = "no no no no no no" if stance == "refuse" else "yes yes yes yes yes"
    return {"prompt": prompt.text, "reply": reply, "stance": stance, "source": source}


def test_it_learns_the_risk_of_prompts(llm: FrozenLLM, pool: PromptPool) -> None:
    replies = [written(prompt, stance) for prompt in pool for stance in ("comply", "refuse")]
    told: list[tuple[object, ...]] = []
    critic, again = EmotionalCritic.for_llm(llm), EmotionalCritic.for_llm(llm)
    report = train_fear_module(
        critic, llm, pool, replies, progress=lambda *where: told.append(where)
    )
    assert told == [("training the FearModule", 128, 128, "texts")]
    assert report.test_auc > 0.95
    assert report.test_auc_in_replies > 0.9
    assert report.test_risky_above_half > 0.9
    assert report.test_harmless_above_half < 0.1
    assert report.danger.validation_auc > 0.95
    assert report.pain is None
    train_fear_module(again, llm, pool, replies)
    for name, value in critic.fear_module.state_dict().items():
        assert torch.equal(value, again.fear_module.state_dict()[name])


def test_how_grave_a_risk_is_changes_nothing(llm: FrozenLLM, pool: PromptPool) -> None:
    """The shipped weights were trained on two values; graded risk must give them again."""
    graded = PromptPool(
        tuple(replace(prompt, risk=0.7 if prompt.risky else 0.2) for prompt in pool)
    )
    critics = [EmotionalCritic.for_llm(llm) for _ in range(2)]
    reports = [
        train_fear_module(critic, llm, prompts, [])
        for critic, prompts in zip(critics, (pool, graded), strict=True)
    ]
    assert reports[0].danger == reports[1].danger
    assert reports[0].test_auc == reports[1].test_auc
    for name, value in critics[0].fear_module.state_dict().items():
        assert torch.equal(value, critics[1].fear_module.state_dict()[name])


def test_it_learns_fear_and_reproach_in_words(
    llm: FrozenLLM, pool: PromptPool, tmp_path: Path
) -> None:
    kinds = {"fear": "qqqq", "annoyance": "!!!!", "neutral": "oooo"}
    texts = [f"{word} {number}" for number in range(60) for word in kinds.values()]
    labels = label_matrix([[GOEMOTIONS.index(kind)] for _ in range(60) for kind in kinds])
    data = LabelledTexts(source="made up", texts=texts, values=labels)
    critic = EmotionalCritic.for_llm(llm)
    labelled = labelled_contexts(critic, llm, data, cache=tmp_path, seed=0)
    assert labelled.hidden.shape == (180, llm.hidden_size)
    assert (int(labelled.afraid.sum()), int(labelled.reproach.sum())) == (60, 60)
    report = train_fear_module(critic, llm, pool, [], labelled=labelled)
    assert report.test_auc > 0.95
    assert report.pain is not None and report.pain.validation_auc > 0.95
    assert report.test_pain_above_half < 0.1
    with torch.no_grad():
        danger, pain = (net(labelled.hidden) for net in _nets(critic))
    assert ((danger > 0.5) == labelled.afraid.bool()).float().mean() > 0.9
    assert ((pain > 0.5) == labelled.reproach.bool()).float().mean() > 0.9


def _nets(critic: EmotionalCritic) -> tuple[Callable[[Tensor], Tensor], ...]:
    return critic.fear_module.danger, critic.fear_module.pain


def test_the_caution_of_replies_says_nothing_about_risk(
    llm: FrozenLLM, pool: PromptPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}

    def spy(llm: FrozenLLM, prompts: list[str], replies: list[str], progress: object) -> None:
        seen.update(zip(prompts, replies, strict=True))
        raise InterruptedError

    monkeypatch.setattr("erm_gym.feedback.critic_training.read_replies", spy)
    # Two pairs of which only the risky prompt has a careful reply as well.
    lonely = {
        prompt.text for prompt in pool if prompt.pair_id in ("pair-4", "pair-5") and prompt.risky
    }
    # Written careful replies to risky prompts come first, as they would in a careless file.
    replies = [
        written(prompt, stance)
        for stance in ("refuse", "comply")
        for prompt in sorted(pool, key=lambda prompt: -prompt.risk)
    ]
    replies = [row for row in replies if row["prompt"] not in lonely or row["stance"] == "refuse"]
    agents = [written(prompt, "refuse", "PPO agent") | {"reply": "agent"} for prompt in pool]
    with pytest.raises(InterruptedError):
        train_fear_module(EmotionalCritic.for_llm(llm), llm, pool, agents + replies)
    assert "agent" not in seen.values()
    risky = [seen[prompt.text][:2] for prompt in pool if prompt.risky]
    assert risky == [seen[prompt.text][:2] for prompt in pool if not prompt.risky]
    assert [risky.count(start) for start in ("no", "ye", "")] == [32, 31, 1]
