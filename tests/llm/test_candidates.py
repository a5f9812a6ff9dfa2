"""The likeliest tokens: softmax by hand, and every row as if it were alone."""

from __future__ import annotations

import math

import torch

from erm_gym.llm import likeliest_tokens


def test_two_of_three_tokens_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3), math.log(2)]])
    found = likeliest_tokens(logits, 2, temperature=0.5)
    assert found.tokens.tolist() == [[1, 2]]
    own = (found.logits - found.normaliser).exp()
    torch.testing.assert_close(own, torch.tensor([[3 / 6, 2 / 6]]))
    tempered = (found.logits / 0.5 - found.tempered_normaliser).exp()
    torch.testing.assert_close(tempered, torch.tensor([[9 / 14, 4 / 14]]))


def test_rows_do_not_depend_on_each_other() -> None:
    logits = torch.randn(11, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    together = likeliest_tokens(logits, 5, temperature=0.7)
    for row in range(11):
        alone = likeliest_tokens(logits[row][None], 5, temperature=0.7)
        for one, many in zip(alone, together, strict=True):
            assert torch.equal(one[0], many[row])


def test_a_broken_row_shows_in_its_normaliser_alone() -> None:
    logits = torch.zeros(6, 9)
    logits[4, 2] = math.nan
    finite = torch.isfinite(likeliest_tokens(logits, 2, temperature=1.0).normaliser)
    assert finite.flatten().tolist() == [True, True, True, True, False, True]
