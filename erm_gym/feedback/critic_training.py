"""Trains what an emotional critic knows about danger, on the risk of prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erm_gym.emotion import DangerReport, EmotionalCritic, train_danger_net
from erm_gym.feedback.prompts import Prompt, PromptPool
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
    mean after some tokens of a reply where one was written for the prompt. An agent's replies are
    left out, since they are careful where the risk is high: the net would learn the caution of the
    answer. (The written ones that are taken lean that way too: 59% of those to risky prompts
    hedge or refuse, 38% of those to harmless ones.) The ERM stays untrained.

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
    written: dict[str, list[str]] = {}
    for row in replies:
        if row["source"] == WRITTEN:
            written.setdefault(row["prompt"], []).append(row["reply"])
    states = {"train": ([], []), "validation": ([], []), "test": ([], [])}  # type: ignore[var-annotated]
    jobs = []
    for number, prompt in enumerate(pool):
        own = written.get(prompt.text, [""]) if prompt.split == "train" else [""]
        jobs.append((prompt, own[number % len(own)]))
    for first in range(0, len(jobs), 256):
        part = jobs[first : first + 256]
        for (prompt, _), contexts in zip(part, _contexts(critic, llm, part), strict=True):
            inputs, risks = states[prompt.split]
            inputs.append(contexts)
            risks.append(torch.full((len(contexts),), prompt.risk))
        progress(f"read {min(first + 256, len(jobs))} of {len(jobs)} texts")
    sets = {split: (torch.cat(xs), torch.cat(ys)) for split, (xs, ys) in states.items()}
    report = train_danger_net(
        critic.fear_module, *sets["train"], validation=sets["validation"], seed=seed
    )
    with torch.no_grad():
        danger = critic.fear_module.danger(sets["test"][0].to(llm.device)).cpu()
    risky, harmless = danger[sets["test"][1] > 0.5], danger[sets["test"][1] <= 0.5]
    return critic, CriticReport(
        danger=report,
        test_auc=float((risky[:, None] > harmless[None]).float().mean()),
        test_risky_above_half=float((risky > 0.5).float().mean()),
        test_harmless_above_half=float((harmless > 0.5).float().mean()),
    )


def _contexts(
    critic: EmotionalCritic, llm: FrozenLLM, jobs: Sequence[tuple[Prompt, str]]
) -> list[Tensor]:
    """Contexts `[1..4, d]` of each text: after the prompt, and after some tokens of the reply."""
    starts = [llm.encode_prompt(prompt.text) for prompt, _ in jobs]
    ends = [llm.encode_text(reply)[: READ_AT[-1]] for _, reply in jobs]
    hidden = llm.hidden_states([a + b for a, b in zip(starts, ends, strict=True)])
    result = []
    for state, start in zip(hidden, starts, strict=True):
        context = state[len(llm.template) : len(start)].float().mean(dim=0, keepdim=True)  # [1, d]
        kept, begun = [context], torch.ones(1, dtype=torch.bool, device=context.device)
        for index, token in enumerate(state[len(start) :].float(), 1):
            context = critic.fear_module.pool(token[None], context, begun)
            if index in READ_AT:
                kept.append(context)
        result.append(torch.cat(kept).cpu())
    return result
