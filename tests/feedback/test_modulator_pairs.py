"""Pairs of a careful and a direct reply."""

from __future__ import annotations

from collections import Counter

from erm_gym.emotion.training.pairs import Pair
from erm_gym.feedback import Prompt, PromptPool, load_prompts
from erm_gym.feedback.judge import read_labelled_replies
from erm_gym.feedback.modulator_pairs import fear_pairs, gather_pairs

POOL = PromptPool((Prompt(text="A?", split="test"), Prompt(text="B?", split="train")))


def row(prompt: str, reply: str, stance: str, source: str = "written") -> dict[str, str]:
    return {"prompt": prompt, "reply": reply, "stance": stance, "source": source, "split": "train"}


def test_every_written_reply_is_in_a_pair() -> None:
    replies = [
        row("B?", "no", "refuse"),
        row("A?", "yes", "comply"),
        row("A?", "no", "refuse"),
        row("A?", "careful", "hedge"),
        row("A?", "sorry", "refuse"),
        row("A?", "sure", "comply"),
    ]
    assert fear_pairs(POOL, replies) == [  # none of B?, which has no direct reply
        Pair(emotion="fear", prompt="A?", chosen=chosen, rejected=rejected, split="test")
        for chosen, rejected in (("no", "yes"), ("careful", "sure"), ("sorry", "yes"))
    ]


def test_other_replies_are_left_out() -> None:
    replies = [
        row("B?", "no", "refuse"),
        row("B?", "yes", "comply", source="PPO agent, late"),
        row("B?", "yes", "degenerate"),
        row("C?", "yes", "comply"),
    ]
    assert fear_pairs(POOL, replies) == []


def test_of_the_package() -> None:
    pool = load_prompts("default")
    pairs = fear_pairs(pool, read_labelled_replies())
    counts = Counter(pair.split for pair in pairs)
    assert counts == {"train": 879, "validation": 136, "test": 315}
    splits = {prompt.text: prompt.split for prompt in pool}
    assert all(splits[str(pair.prompt)] == pair.split for pair in pairs)
    chosen, rejected = ({getattr(pair, side) for pair in pairs} for side in ("chosen", "rejected"))
    assert not chosen & rejected


def test_pairs_are_gathered_and_some_held_out() -> None:
    prompts = [
        Prompt(text=f"{split} {number}", risk=1.0, split=split)
        for split in ("train", "validation", "test")
        for number in range(3)
    ]
    replies = [
        {"prompt": prompt.text, "reply": stance, "stance": stance, "source": "written"}
        for prompt in prompts
        for stance in ("refuse", "comply")
    ]
    own = [
        Pair(
            emotion="anger",
            prompt=f"{n}",
            chosen="a",
            rejected="b",
            split="test" if n < 2 else "train",
        )
        for n in range(12)
    ]
    pool = PromptPool(tuple(prompts))
    splits = gather_pairs(pool, replies, own=own)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [
        3 + 8,  # of 10 of our own 2 validate
        3 + 2,
        3 + 2,
    ]
    every = [*splits.train, *splits.validation, *splits.test]
    assert len({(pair.emotion, str(pair.prompt)) for pair in every}) == len(every) == 9 + 12
    assert splits == gather_pairs(pool, replies, own=own)
    assert splits != gather_pairs(pool, replies, own=own, seed=1)
