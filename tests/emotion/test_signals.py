"""Names, order and gradients of the emotional signals."""

from __future__ import annotations

import pytest
import torch

from erm_gym.emotion import EMOTIONS, EmotionalSignals


def test_names_follow_the_order_of_the_tensor() -> None:
    assert EMOTIONS == ("fear", "curiosity", "anger", "joy", "anxiety", "confidence")
    signals = EmotionalSignals(torch.arange(12.0).view(2, 6))
    for index, name in enumerate(EMOTIONS):
        assert getattr(signals, name).tolist() == [index, index + 6.0]
    assert signals[1].as_dict() == {name: index + 6.0 for index, name in enumerate(EMOTIONS)}
    assert signals.as_dict()["joy"] == [3.0, 9.0]


def test_with_replaces_by_name_and_leaves_the_original() -> None:
    old = EmotionalSignals.zeros(2, 3)
    new = old.with_(fear=0.7, joy=torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(new.fear, torch.full((2, 3), 0.7))
    assert torch.allclose(new.joy, torch.tensor([[0.1, 0.2, 0.3]] * 2))
    assert new.tensor.sum() == pytest.approx(0.7 * 6 + 0.6 * 2)
    assert not old.tensor.any()


def test_gradients_pass_through_with_and_names() -> None:
    fear = torch.tensor([0.2, 0.4], requires_grad=True)
    base = torch.zeros(2, 6, requires_grad=True)
    signals = EmotionalSignals(base).with_(fear=fear)
    (signals.fear * torch.tensor([1.0, 2.0]) + signals.joy).sum().backward()
    assert fear.grad is not None and fear.grad.tolist() == [1.0, 2.0]
    assert base.grad is not None and base.grad[:, 0].tolist() == [0.0, 0.0]
    assert base.grad[:, 3].tolist() == [1.0, 1.0]


def test_a_misspelt_emotion_is_an_error_that_lists_the_emotions() -> None:
    with pytest.raises(ValueError, match=r"'feer'.*'fear'"):
        EmotionalSignals.zeros().with_(feer=1.0)


@pytest.mark.parametrize("shape", [(), (5,), (6, 1)])
def test_another_last_dimension_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="last dimension of 6"):
        EmotionalSignals(torch.zeros(shape))


def test_stack_clamp_and_detach() -> None:
    low = EmotionalSignals(torch.full((2, 6), -0.5, requires_grad=True))
    high = EmotionalSignals(torch.full((2, 6), 1.5))
    both = EmotionalSignals.stack([low, high], dim=1)
    assert both.shape == (2, 2, 6)
    assert both.clamp().fear.tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert both.tensor.requires_grad and not both.detach().tensor.requires_grad
