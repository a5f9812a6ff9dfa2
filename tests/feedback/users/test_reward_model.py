"""Reward models by folder: both kinds of heads, both kinds of text, batches, and broken folders."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from erm_gym.feedback import Episode, Feedback, Prompt, Turn, UserError
from erm_gym.feedback.users.reward_model import RewardModelUser
from erm_gym.llm import FrozenLLM
from erm_gym.llm.tiny import build_tiny_tokenizer

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.5,
}
REPLIES = ["Yes.", "No, I would rather not.", "", "Perhaps " * 12]


def save(folder: Path, kind: str = "llama", *, chat: bool = True, **config: Any) -> Path:
    """A small random classifier with a tokenizer of bytes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if kind == "llama":
            model: Any = LlamaForSequenceClassification(LlamaConfig(**SIZES, **config))
        else:
            model = BertForSequenceClassification(BertConfig(**SIZES, **config))
    model.save_pretrained(folder)
    tokenizer = build_tiny_tokenizer()
    if not chat:
        tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("reward"), num_labels=1)


def episodes(replies: list[str] = REPLIES) -> list[Episode]:
    return [Episode(prompt=Prompt(text=f"May I? {i}"), reply=r) for i, r in enumerate(replies)]


def ask(user: RewardModelUser, given: list[Episode]) -> list[Feedback]:
    return user(given, np.random.default_rng(0))


def test_one_logit_is_squashed(llm: FrozenLLM, folder: Path) -> None:
    user = RewardModelUser.for_llm(llm, model=str(folder), scale=0.7)
    for given, feedback in zip(episodes(), ask(user, episodes()), strict=True):
        text = (
            f"<|im_start|>user\n{given.prompt.text}<|im_end|>\n"
            f"<|im_start|>assistant\n{given.reply}<|im_end|>\n"
        )
        ids = torch.tensor([user.tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            logit = float(user.model(input_ids=ids).logits)
        assert feedback.score == pytest.approx(math.tanh(0.7 * logit), abs=1e-5)
        assert feedback.components == {"reward": feedback.score}
    assert np.ptp([each.score for each in ask(user, episodes())]) > 1e-2


def test_batches_do_not_matter(llm: FrozenLLM, folder: Path) -> None:
    whole = ask(RewardModelUser.for_llm(llm, model=str(folder)), episodes())
    alone = ask(RewardModelUser.for_llm(llm, model=str(folder), batch_size=1), episodes())
    for one, other in zip(whole, alone, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)


def test_a_label_is_a_probability(llm: FrozenLLM, tmp_path: Path) -> None:
    labels = {0: "good", 1: "bad", 2: "ugly"}
    save(tmp_path, num_labels=3, id2label=labels, label2id={v: k for k, v in labels.items()})
    scores = {}
    for label in labels.values():
        user = RewardModelUser.for_llm(llm, model=str(tmp_path), label=label)
        (feedback,) = ask(user, episodes()[:1])
        p = float(user.logits(episodes()[:1])[0].softmax(-1)[user.model.config.label2id[label]])
        assert feedback.score == pytest.approx(2.0 * p - 1.0)
        assert dict(feedback.components) == pytest.approx({label: p, "rest": p - 1.0})
        scores[label] = p
    assert sum(scores.values()) == pytest.approx(1.0)
    with pytest.raises(UserError, match=r"has 3 labels; give label= one of \['good', 'bad', 'ugly"):
        RewardModelUser.for_llm(llm, model=str(tmp_path))
    with pytest.raises(UserError, match="no label 'god'"):
        RewardModelUser.for_llm(llm, model=str(tmp_path), label="god")


def test_labels_that_do_not_exclude_each_other(llm: FrozenLLM, tmp_path: Path) -> None:
    save(tmp_path, num_labels=2, problem_type="multi_label_classification")
    user = RewardModelUser.for_llm(llm, model=str(tmp_path), label="LABEL_1")
    (feedback,) = ask(user, episodes()[:1])
    p = float(user.logits(episodes()[:1])[0, 1].sigmoid())
    assert feedback.score == pytest.approx(2.0 * p - 1.0)


def test_without_a_chat_template_it_reads_a_pair(llm: FrozenLLM, tmp_path: Path) -> None:
    save(tmp_path, "bert", chat=False, num_labels=1)
    user = RewardModelUser.for_llm(llm, model=str(tmp_path))
    turn = Turn(said="May I? 0", reply="Why?", feedback=Feedback(score=0.0, says="I want to."))
    given = Episode(prompt=Prompt(text="May I? 0"), reply="Then do.", turns=(turn,))
    ids = user.tokenizer("May I? 0\nWhy?\nI want to.", "Then do.", return_tensors="pt")
    with torch.no_grad():
        logit = float(user.model(**ids).logits)
    assert ask(user, [given])[0].score == pytest.approx(math.tanh(logit), abs=1e-5)


def test_earlier_turns_are_read(llm: FrozenLLM, folder: Path) -> None:
    user = RewardModelUser.for_llm(llm, model=str(folder))
    turn = Turn(said="May I?", reply="Why?", feedback=Feedback(score=0.0, says="I want to."))
    prompt = Prompt(text="May I?")
    first, later = (Episode(prompt=prompt, reply="Do.", turns=turns) for turns in ((), (turn,)))
    scores = [each.score for each in ask(user, [first, later])]
    assert abs(scores[0] - scores[1]) > 1e-4


def test_a_long_conversation_loses_its_beginning(llm: FrozenLLM, folder: Path) -> None:
    user = RewardModelUser.for_llm(llm, model=str(folder))
    one, other = (
        Episode(prompt=Prompt(text=start + "x" * 400), reply="The same end") for start in "ab"
    )
    first, second = ask(user, [one, other])
    assert first.score == second.score
    (changed,) = ask(user, [Episode(prompt=one.prompt, reply="Another end")])
    assert changed.score != first.score


def test_the_model_is_frozen_and_options_are_checked(llm: FrozenLLM, folder: Path) -> None:
    user = RewardModelUser.for_llm(llm, model=str(folder))
    assert not user.model.training
    assert not any(weight.requires_grad for weight in user.model.parameters())
    for options, message in (
        ({}, "needs a model; give model=NAME"),
        ({"model": str(folder), "scale": 0.0}, "scale=0.0; give a number above 0"),
        ({"model": str(folder), "batch_size": 0}, "batch_size=0"),
        ({"model": str(folder), "label": "good"}, "one output, and label='good'"),
    ):
        with pytest.raises(UserError, match=message):
            RewardModelUser.for_llm(llm, **options)


def test_an_answer_that_is_no_number_names_the_prompt(llm: FrozenLLM, folder: Path) -> None:
    user = RewardModelUser.for_llm(llm, model=str(folder))
    user.model.score.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"answers \[nan\] to the prompt 'May I\? 0'"):
        ask(user, episodes())


# -- folders that cannot be used -------------------------------------------------------------------


def test_nothing_is_there(llm: FrozenLLM, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'reward-model' cannot load .*give a folder with config"):
        RewardModelUser.for_llm(llm, model=str(tmp_path / "missing"))


def test_another_kind_of_model(llm: FrozenLLM, tmp_path: Path) -> None:
    BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"it is \['BertModel'\] and no sequence classifier"):
        RewardModelUser.for_llm(llm, model=str(tmp_path))


def test_a_missing_head(llm: FrozenLLM, tmp_path: Path) -> None:
    """The configuration promises a classifier, but the weights have none."""
    BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path)
    build_tiny_tokenizer().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"its weights lack .*classifier"):
        RewardModelUser.for_llm(llm, model=str(tmp_path))


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_truncated_weights(llm: FrozenLLM, folder: Path, tmp_path: Path, keep: float) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    content = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(UserError, match=r"cannot load .*copy it again"):
        RewardModelUser.for_llm(llm, model=str(broken))


def test_no_tokenizer(llm: FrozenLLM, folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    (broken / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="cannot load"):
        RewardModelUser.for_llm(llm, model=str(broken))
