"""How likely replies are under a frozen LM, and what an additive bias on logits makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from erm_gym.emotion.training.datasets import DataError
from erm_gym.emotion.training.pairs import Pair
from erm_gym.emotion.training.progress import Progress
from erm_gym.llm import FrozenLLM, LLMError, read_layers

LONGEST_REPLY = 64
"""Tokens of a reply that are read; what comes after them is not."""
POSITIONS_AT_ONCE = 512
"""Positions whose logits over the whole vocabulary are in memory at a time."""
TEXTS_PER_REPORT = 128


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How far pairs of replies are apart under a bias."""

    level: float
    """Strength of the emotion, in [0, 1]."""
    margin: float
    """Mean of log p(chosen) - log p(rejected), each per token, in nats."""
    share_ahead: float
    """Share of the pairs whose chosen reply is likelier per token than the rejected one."""
    share_gaining: float
    """Share of the pairs whose margin is larger than without a bias."""
    kl: float
    """Mean Kullback-Leibler divergence from the biased LM to the LM, in nats per token: the mean
    over the tokens of each reply, then over the replies of all pairs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Likelihoods:
    """R replies under a frozen LM, as far as a bias on S groups of its tokens needs it.

    Where b is the bias and p the LM's distribution at a position, the biased one is p e^b / Z with
    Z = 1 + sum over the groups of p (e^b - 1): the rest of the vocabulary is not needed.
    """

    own: Tensor
    """`[R]` log-probability of each reply per token, in nats."""
    share: Tensor
    """`[R, S]` share of each reply's tokens that are in the group."""
    probabilities: list[Tensor]
    """R of `[T, S]`: probability of each group at each position of a reply."""

    def change(self, bias: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What a bias adds to log-likelihoods, and how far it moves the LM.

        Args:
            bias: `[S]` float32, in nats.
            rows: `[n]` int64, numbers of replies.

        Returns:
            `[n]` change of the log-probability per token, and `[n]` divergence from the biased LM
            to the LM per token; both exactly 0 where the bias is 0.
        """
        chosen = [self.probabilities[row] for row in rows.tolist()]
        lengths = torch.tensor([len(own) for own in chosen], device=bias.device)
        there = torch.cat(chosen)  # [N, S]
        log_z = torch.log1p(there @ torch.expm1(bias))  # [N]
        kl = (there @ (bias * bias.exp())) * (-log_z).exp() - log_z  # [N]
        log_z, kl = (
            torch.segment_reduce(each, "mean", lengths=lengths, unsafe=True) for each in (log_z, kl)
        )
        return self.share[rows] @ bias - log_z, kl

    @torch.no_grad()
    def figures(self, pairs: Tensor, bias: Tensor, level: float) -> Figures:
        """Margin and divergence of pairs.

        Args:
            pairs: `[P, 2]` int64, numbers of the chosen and the rejected replies.
            bias: `[S]` what the emotion adds at this level.
            level: Its strength, for the record.
        """
        change, kl = self.change(bias, pairs.flatten())
        after = self.own[pairs] + change.view_as(pairs)  # [P, 2]
        margins = (after[:, 0] - after[:, 1]).double()
        return Figures(
            level=level,
            margin=float(margins.mean()),
            share_ahead=float((margins > 0).double().mean()),
            share_gaining=float((change[::2] > change[1::2]).double().mean()),
            kl=float(kl.double().mean()),
        )


class Replies:
    """The distinct replies of pairs, each read once by a frozen LM after its prompt.

    Attributes:
        tokens: R token lists, at most `LONGEST_REPLY` each.
    """

    def __init__(self, llm: FrozenLLM, pairs: Iterable[Pair], progress: Progress) -> None:
        """Reads them.

        Args:
            llm: The frozen LM.
            pairs: Pairs of replies.
            progress: Told how far it is.

        Raises:
            DataError: If a reply has no token, or a prompt leaves no room for its reply.
            LLMError: If a prompt is too long, or the LM's logits are more than its LM head.
        """
        _check_head(llm)
        self._llm = llm
        self._numbers: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._keys: dict[tuple[str, str], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for pair in pairs:
            for reply in (pair.chosen, pair.rejected):
                self._numbers.setdefault(self._key(pair, reply), len(self._numbers))
        self.tokens = [list(reply) for _, reply in self._numbers]
        self._states: list[Tensor] = []
        texts = list(self._numbers)
        for first in range(0, len(texts), TEXTS_PER_REPORT):
            self._states += _read(llm, texts[first : first + TEXTS_PER_REPORT])
            progress("reading replies", len(self._states), len(texts), "replies")

    def numbers(self, pairs: Sequence[Pair]) -> Tensor:
        """Numbers of the chosen and the rejected replies of P pairs, `[P, 2]` int64."""
        rows = [
            [self._numbers[self._key(pair, reply)] for reply in (pair.chosen, pair.rejected)]
            for pair in pairs
        ]
        return torch.tensor(rows, device=self._llm.device).view(-1, 2)

    @torch.no_grad()
    def likelihoods(self, groups: Sequence[Sequence[int]]) -> Likelihoods:
        """The replies, for a bias on some tokens.

        Args:
            groups: S groups of tokens, disjoint; the tokens of a group have the same bias. It takes
                4 bytes of memory per position and group.
        """
        device = self._llm.device
        ids = torch.tensor(list(chain(*groups)), dtype=torch.int64, device=device)  # [I]
        sizes = torch.tensor([len(group) for group in groups], dtype=torch.int64, device=device)
        member = torch.eye(len(groups), device=device).repeat_interleave(sizes, dim=0)  # [I, S]
        head = self._llm.model.get_output_embeddings()
        lengths = [len(own) for own in self.tokens]
        states = torch.cat(self._states)  # [N, d]
        written = torch.tensor(list(chain(*self.tokens)), device=device)  # [N]
        there, logs = [], []
        for part, following in zip(
            states.split(POSITIONS_AT_ONCE), written.split(POSITIONS_AT_ONCE), strict=True
        ):
            log_p = head(part).float().log_softmax(-1)  # [n, V]
            there.append(log_p[:, ids].exp() @ member)
            logs.append(log_p.gather(1, following[:, None])[:, 0])
        return Likelihoods(
            own=torch.stack([each.mean() for each in torch.cat(logs).split(lengths)]),
            share=torch.stack(
                [(own[:, None] == ids).float().mean(0) @ member for own in written.split(lengths)]
            ),
            probabilities=list(torch.cat(there).split(lengths)),
        )

    def _key(self, pair: Pair, reply: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        asked = str(pair.prompt), reply
        if asked not in self._keys:
            prompt = tuple(self._llm.encode_prompt(pair.prompt))
            tokens = tuple(self._llm.encode_text(reply)[:LONGEST_REPLY])
            if not tokens or len(prompt) + len(tokens) > self._llm.context_length:
                raise DataError(
                    f"the reply {reply[:40]!r} has {len(tokens)} tokens behind a prompt of "
                    f"{len(prompt)}, and {self._llm.name} reads 1 to {self._llm.context_length} "
                    "in all; shorten the prompt or delete the pair"
                )
            self._keys[asked] = prompt, tokens
        return self._keys[asked]


def _read(llm: FrozenLLM, texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> list[Tensor]:
    """States `[T, d]` from which the LM head predicts each of the T tokens of every reply."""
    # The last token predicts nothing that is read. What the prompt shares is read once.
    sequences = [[*prompt, *reply[:-1]] for prompt, reply in texts]
    template = list(llm.template)
    shared = template if all(own[: len(template)] == template for own in sequences) else []
    states = read_layers(llm, sequences, (llm.num_layers,), shared=shared)
    return [own[-len(reply) :, 0] for own, (_, reply) in zip(states, texts, strict=True)]


@torch.no_grad()
def _check_head(llm: FrozenLLM) -> None:
    """Raises unless logits are the LM head's output: no scaling, no soft cap."""
    ids = torch.tensor([llm.encode_prompt("Hello")], device=llm.device)
    output = llm.model(input_ids=ids, output_hidden_states=True, use_cache=False)
    head = llm.model.get_output_embeddings()
    if head is None or not torch.allclose(
        head(output.hidden_states[-1]).float(), output.logits.float(), rtol=0.02, atol=0.02
    ):
        raise LLMError(
            f"{llm.name} makes more of its last hidden state than its LM head does, which pairs of "
            "replies cannot be read with; use a model without scaled or capped logits"
        )
