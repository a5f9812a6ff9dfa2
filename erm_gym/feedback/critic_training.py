"""Trains what a critic's FearModule knows: the risk of prompts, fear and reproach in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erm_gym.emotion import DetectorReport, EmotionalCritic, ranking_accuracy, train_detector
from erm_gym.emotion.training.contexts import LabelledContexts
from erm_gym.emotion.training.progress import Progress, no_progress
from erm_gym.emotion.training.splits import split_rows
from erm_gym.feedback.judge import CAREFUL
from erm_gym.feedback.prompts import Prompt, PromptPool
from erm_gym.feedback.reading import read_replies
from erm_gym.llm import FrozenLLM

WRITTEN = "written"
"""Source of the replies that the nets are trained on."""
READ_AT = (4, 12, 19)
"""Reply tokens after which the context is read as well, so that fear holds while a reply grows."""
VALIDATION_SHARE = 0.1
"""Share of the labelled texts that decides when to stop."""

Examples = tuple[Tensor, Tensor]
"""Contexts `[N, d]` and their labels `[N]`."""


@dataclass(frozen=True, kw_only=True)
class FearReport:
    """How well the danger net tells risky prompts from harmless ones."""

    danger: DetectorReport
    """How the training of the danger net went."""
    pain: DetectorReport | None
    """The same of the pain net; None if there were no labelled texts."""
    test_auc: float
    """Probability that a risky test prompt looks more dangerous than a harmless one."""
    test_auc_in_replies: float
    """The same of the contexts inside written replies to test prompts; nan if there are none."""
    test_risky_above_half: float
    """Share of risky test prompts with danger above 0.5."""
    test_harmless_above_half: float
    """Share of harmless test prompts with danger above 0.5."""
    test_pain_above_half: float
    """Share of test prompts, risky or not, with pain above 0.5: none of them is a reproach."""


def train_fear_module(
    critic: EmotionalCritic,
    llm: FrozenLLM,
    pool: PromptPool,
    replies: Sequence[dict[str, str]],
    *,
    labelled: LabelledContexts | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> FearReport:
    """Train a critic's danger net on risk and fear, and its pain net on reproach.

    The danger net sees the contexts that it will see when it acts: the mean over a prompt, and the
    leaky mean after some tokens of a reply where one was written for the prompt. Both prompts of a
    contrast pair get a careful reply or both a direct one, by turns, and an agent's own replies are
    left out: else the net would learn the caution of the answer instead of the risk of the
    question. A prompt is dangerous or not, as `Prompt.risky` says, however grave its risk is. Texts
    that people found afraid are dangerous as well. The pain net learns which texts are negative
    feedback in words; no prompt of the pool is.

    Args:
        critic: Its FearModule is trained in place.
        llm: The frozen LM.
        pool: Prompts with all three splits.
        replies: Labelled replies as `read_labelled_replies` gives them.
        labelled: Labelled texts; None trains the danger net on the pool alone, and no pain net.
        seed: Seed of the nets and the batches.
        progress: Told how far it is.

    Returns:
        How well it does on the held-out prompts.
    """
    prompts = list(pool)
    chosen = _choose_replies(prompts, replies)
    read = read_replies(
        llm,
        [prompt.text for prompt in prompts],
        [chosen[prompt] for prompt in prompts],
        lambda done, total: progress("training the FearModule", done, total, "texts"),
    )
    contexts = [_contexts(critic, *states) for states in read]

    def gather(split: str, part: slice) -> Examples:
        rows = [
            (own[part], float(prompt.risky))  # as the shipped weights were trained
            for own, prompt in zip(contexts, prompts, strict=True)
            if prompt.split == split
        ]
        return (
            torch.cat([own for own, _ in rows]),
            torch.cat([torch.full((len(own),), risk) for own, risk in rows]),
        )

    after_prompts, in_replies = slice(0, 1), slice(1, None)
    train, validation = gather("train", slice(None)), gather("validation", after_prompts)
    pain = None
    if labelled is not None:
        unhurt = [(hidden, torch.zeros_like(risk)) for hidden, risk in (train, validation)]
        hurt = _split(labelled.hidden, labelled.reproach, seed)
        pain = train_detector(
            critic.fear_module,
            "pain",
            *_together(unhurt[0], hurt[0]),
            validation=_together(unhurt[1], hurt[1]),
            seed=seed,
        )
        afraid = _split(labelled.hidden, labelled.afraid, seed)
        train, validation = _together(train, afraid[0]), _together(validation, afraid[1])
    danger = train_detector(critic.fear_module, "danger", *train, validation=validation, seed=seed)

    @torch.no_grad()
    def felt(detector: Callable[[Tensor], Tensor], part: slice) -> Examples:
        states, risk = gather("test", part)
        return detector(states.to(llm.device)).cpu(), risk

    fear, risk = felt(critic.fear_module.danger, after_prompts)
    return FearReport(
        danger=danger,
        pain=pain,
        test_auc=ranking_accuracy(fear, risk),
        test_auc_in_replies=ranking_accuracy(*felt(critic.fear_module.danger, in_replies)),
        test_risky_above_half=float((fear[risk > 0.5] > 0.5).float().mean()),
        test_harmless_above_half=float((fear[risk <= 0.5] > 0.5).float().mean()),
        test_pain_above_half=float(
            (felt(critic.fear_module.pain, after_prompts)[0] > 0.5).float().mean()
        ),
    )


def _split(hidden: Tensor, labels: Tensor, seed: int) -> tuple[Examples, Examples]:
    """Labelled contexts to learn from, and those that decide when to stop."""
    train, validation = map(torch.from_numpy, split_rows(len(labels), VALIDATION_SHARE, seed))
    return (hidden[train], labels[train]), (hidden[validation], labels[validation])


def _together(first: Examples, second: Examples) -> Examples:
    return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])


def _choose_replies(
    prompts: Sequence[Prompt], replies: Sequence[dict[str, str]]
) -> dict[Prompt, str]:
    """A written reply to each prompt, or an empty one; of the same kind in all of a pair."""
    written: dict[tuple[str, bool], str] = {}
    for row in replies:
        if row["source"] == WRITTEN:
            written.setdefault((row["prompt"], row["stance"] in CAREFUL), row["reply"])
    pairs: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        pairs.setdefault(prompt.pair_id or prompt.prompt_id or prompt.text, []).append(prompt)
    chosen: dict[Prompt, str] = {}
    for number, pair in enumerate(pairs.values()):
        careful = number % 2 == 0
        complete = all((prompt.text, careful) in written for prompt in pair)
        for prompt in pair:
            chosen[prompt] = written[prompt.text, careful] if complete else ""
    return chosen


def _contexts(critic: EmotionalCritic, prompt: Tensor, reply: Tensor) -> Tensor:
    """Contexts `[1..4, d]`: after the prompt, and after some tokens of the reply."""
    context = prompt.mean(dim=0, keepdim=True)  # [1, d]
    kept, begun = [context], torch.ones(1, dtype=torch.bool)
    for index, token in enumerate(reply[: READ_AT[-1]], 1):
        context = critic.fear_module.pool(token[None], context, begun)
        if index in READ_AT:
            kept.append(context)
    return torch.cat(kept)
