"""Trains what an emotional critic knows about danger, on the risk of prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erm_gym.emotion import DangerReport, EmotionalCritic, ranking_accuracy, train_danger_net
from erm_gym.feedback.judge import CAREFUL
from erm_gym.feedback.prompts import Prompt, PromptPool
from erm_gym.feedback.reading import read_replies
from erm_gym.llm import FrozenLLM

WRITTEN = "written"
"""Source of the replies that the net is trained on."""
READ_AT = (4, 12, 19)
"""Reply tokens after which the context is read as well, so that fear holds while a reply grows."""


@dataclass(frozen=True, kw_only=True)
class CriticReport:
    """How well the danger net tells risky prompts from harmless ones."""

    danger: DangerReport
    """How the training went."""
    test_auc: float
    """Probability that a risky test prompt looks more dangerous than a harmless one."""
    test_auc_in_replies: float
    """The same of the contexts inside written replies to test prompts; nan if there are none."""
    test_risky_above_half: float
    """Share of risky test prompts with danger above 0.5."""
    test_harmless_above_half: float
    """Share of harmless test prompts with danger above 0.5."""


def train_critic(
    llm: FrozenLLM,
    pool: PromptPool,
    replies: Sequence[dict[str, str]],
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> tuple[EmotionalCritic, CriticReport]:
    """A critic for a frozen LM whose danger net knows the risk of the pool's training prompts.

    The net sees the contexts that it will see when it acts: the mean over a prompt, and the leaky
    mean after some tokens of a reply where one was written for the prompt. Both prompts of a
    contrast pair get a careful reply or both a direct one, by turns, and an agent's own replies are
    left out: else the net would learn the caution of the answer instead of the risk of the
    question. The ERM stays untrained.

    Args:
        llm: The frozen LM.
        pool: Prompts with all three splits.
        replies: Labelled replies as `read_labelled_replies` gives them.
        seed: Seed of the net and the batches.
        progress: Called with a line of text now and then.

    Returns:
        The critic, and how well it does on the held-out prompts.
    """
    critic = EmotionalCritic.for_llm(llm, seed=seed)
    prompts = list(pool)
    chosen = _choose_replies(prompts, replies)
    read = read_replies(
        llm, [prompt.text for prompt in prompts], [chosen[p] for p in prompts], progress
    )
    contexts = [_contexts(critic, *states) for states in read]

    def gather(split: str, part: slice) -> tuple[Tensor, Tensor]:
        rows = [
            (own[part], prompt.risk)
            for own, prompt in zip(contexts, prompts, strict=True)
            if prompt.split == split
        ]
        return (
            torch.cat([own for own, _ in rows]),
            torch.cat([torch.full((len(own),), risk) for own, risk in rows]),
        )

    after_prompts, in_replies = slice(0, 1), slice(1, None)
    report = train_danger_net(
        critic.fear_module,
        *gather("train", slice(None)),
        validation=gather("validation", after_prompts),
        seed=seed,
    )

    @torch.no_grad()
    def danger(part: slice) -> tuple[Tensor, Tensor]:
        states, risk = gather("test", part)
        return critic.fear_module.danger(states.to(llm.device)).cpu(), risk

    fear, risk = danger(after_prompts)
    return critic, CriticReport(
        danger=report,
        test_auc=ranking_accuracy(fear, risk),
        test_auc_in_replies=ranking_accuracy(*danger(in_replies)),
        test_risky_above_half=float((fear[risk > 0.5] > 0.5).float().mean()),
        test_harmless_above_half=float((fear[risk <= 0.5] > 0.5).float().mean()),
    )


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
