"""Normalisers and likeliest tokens: by hand, as torch has them, and every row as if alone."""

from __future__ import annotations

import math

import pytest
import torch

from erm_gym.llm.distribution import likeliest, normalisers


def test_two_of_three_tokens_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3), math.log(2)]])
    before = logits.clone()
    values, tokens = likeliest(logits, 2)
    assert tokens.tolist() == [[1, 2]]
    own, tempered = normalisers(logits, temperature=0.5)[0]
    torch.testing.assert_close((values - own).exp(), torch.tensor([[3 / 6, 2 / 6]]))
    torch.testing.assert_close((values / 0.5 - tempered).exp(), torch.tensor([[9 / 14, 4 / 14]]))
    assert torch.equal(logits, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocabulary", [7, 259, 5000, 49152, 50257])
def test_they_are_those_of_torch(dtype: torch.dtype, vocabulary: int) -> None:
    logits = torch.randn(6, vocabulary, generator=torch.Generator().manual_seed(0)).to(dtype) * 20
    for k in (1, 5, min(64, vocabulary)):
        values, tokens = likeliest(logits, min(k, vocabulary))
        assert torch.equal(values, logits.topk(min(k, vocabulary), dim=-1).values)
        assert torch.equal(values, logits.gather(1, tokens))
        assert all(len(set(row)) == len(row) for row in tokens.tolist())
    exact = logits.double()
    expected = torch.stack([exact.logsumexp(-1), (exact / 0.7).logsumexp(-1)], dim=-1)
    torch.testing.assert_close(normalisers(logits, 0.7).double(), expected, atol=1e-4, rtol=1e-6)


def test_equal_logits_are_all_found() -> None:
    logits = torch.zeros(2, 5000)
    logits[1, [3, 700, 4999]] = 1.0
    assert sorted(likeliest(logits, 3)[1][1].tolist()) == [3, 700, 4999]
    assert len(set(likeliest(logits, 9)[1][0].tolist())) == 9


def test_rows_do_not_depend_on_each_other() -> None:
    logits = torch.randn(11, 9000, generator=torch.Generator().manual_seed(0)).bfloat16()
    together = (*likeliest(logits, 5), normalisers(logits, 0.7))
    for row in range(11):
        alone = (*likeliest(logits[row][None], 5), normalisers(logits[row][None], 0.7))
        for one, many in zip(alone, together, strict=True):
            assert torch.equal(one[0], many[row])


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_row_shows_in_its_normalisers_alone(broken: float) -> None:
    logits = torch.zeros(6, 9)
    logits[4, 2] = broken
    finite = torch.isfinite(normalisers(logits, temperature=1.0)).all(dim=1)
    assert finite.tolist() == [True, True, True, True, False, True]
