"""The Emotional Reward Model: equal paths, causality, numbers by hand, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from erm_gym.emotion import EmotionalRewardModel, ERMConfig

SIZE = 10
FORMS = {
    "ours": ERMConfig(layers=(1, 3), width=16, encoded_size=8, labels=("odd",), affect=True),
    "seed": ERMConfig.seed_form(1),
}


@pytest.fixture(params=[*FORMS])
def erm(request: pytest.FixtureRequest) -> EmotionalRewardModel:
    """A model far from its calm start, so that differences show."""
    model = EmotionalRewardModel(SIZE, FORMS[request.param]).eval()
    nn.init.normal_(model.heads.weight)
    return model


def states(erm: EmotionalRewardModel, *batch: int) -> Tensor:
    return torch.randn(*batch, len(erm.config.layers), SIZE)


def incremental(erm: EmotionalRewardModel, hidden: Tensor) -> Tensor:
    state, signals = erm.initial_state(len(hidden)), []
    for position in range(hidden.shape[1]):
        felt, state = erm.step(hidden[:, position], state)
        signals.append(felt.tensor)
    return torch.stack(signals, 1)


def test_the_full_path_equals_the_incremental_one(erm: EmotionalRewardModel) -> None:
    hidden = 5 * states(erm, 4, 23)
    full, state = erm(hidden)
    assert full.shape == (4, 23, 6)
    assert full.tensor.std(1).min() > 1e-3  # the signals do move
    torch.testing.assert_close(full.tensor, incremental(erm, hidden), atol=1e-5, rtol=0)
    # The states agree too: both paths feel the same about one more position.
    after, stepped = states(erm, 4), erm.initial_state(4)
    for position in range(23):
        _, stepped = erm.step(hidden[:, position], stepped)
    torch.testing.assert_close(
        erm.step(after, state)[0].tensor, erm.step(after, stepped)[0].tensor, atol=1e-5, rtol=0
    )


def test_a_sequence_read_in_two_parts_equals_one_part(erm: EmotionalRewardModel) -> None:
    hidden = states(erm, 2, 9)
    first, state = erm(hidden[:, :4])
    second, _ = erm(hidden[:, 4:], state)
    whole, _ = erm(hidden)
    parts = torch.cat([first.tensor, second.tensor], 1)
    torch.testing.assert_close(parts, whole.tensor, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(erm: EmotionalRewardModel, side: str) -> None:
    lengths, longest = [3, 7, 1], 7
    hidden = states(erm, 3, longest)
    positions = torch.arange(longest)
    if side == "right":
        mask = positions < torch.tensor(lengths).unsqueeze(1)
    else:
        mask = positions >= longest - torch.tensor(lengths).unsqueeze(1)
    signals, state = erm(hidden, mask=mask)
    after = states(erm, 3)
    following, _ = erm.step(after, state)
    for row in range(3):
        own = hidden[row : row + 1, mask[row]]
        alone, end = erm(own)
        torch.testing.assert_close(
            signals.tensor[row, mask[row]], alone.tensor[0], atol=1e-5, rtol=0
        )
        # Padding repeats the signals before it: the last ones, or none at all.
        repeated = alone.tensor[0, -1] if side == "right" else torch.zeros(6)
        padding = signals.tensor[row, ~mask[row]]
        torch.testing.assert_close(padding, repeated.expand_as(padding), atol=1e-5, rtol=0)
        one_more, _ = erm.step(after[row : row + 1], end)
        torch.testing.assert_close(following.tensor[row], one_more.tensor[0], atol=1e-5, rtol=0)


def test_rows_that_reset_at_different_times_equal_separate_texts(erm: EmotionalRewardModel) -> None:
    hidden = states(erm, 3, 12)
    borders = {0: [5], 1: [2, 9], 2: []}
    state, signals = erm.initial_state(3), []
    for position in range(12):
        starts = torch.tensor([position in borders[row] for row in range(3)])
        state = erm.initial_state(3).where(starts, state)
        felt, state = erm.step(hidden[:, position], state)
        signals.append(felt.tensor)
    for row, cuts in borders.items():
        texts = hidden[row].tensor_split(cuts)
        alone = torch.cat([erm(text.unsqueeze(0))[0].tensor[0] for text in texts])
        torch.testing.assert_close(torch.stack(signals, 1)[row], alone, atol=1e-5, rtol=0)


def test_the_future_is_not_read(erm: EmotionalRewardModel) -> None:
    hidden = states(erm, 2, 8)
    changed = hidden.clone()
    changed[:, 5:] = states(erm, 2, 3)
    before, after = erm(hidden)[0].tensor, erm(changed)[0].tensor
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_a_row_does_not_depend_on_the_batch(erm: EmotionalRewardModel) -> None:
    hidden = states(erm, 5, 6)
    together = erm(hidden)[0].tensor
    for row in range(5):
        alone = erm(hidden[row : row + 1])[0].tensor
        torch.testing.assert_close(together[row], alone[0], atol=1e-6, rtol=0)


def test_six_tenths_phasic_and_four_tenths_tonic_by_hand(erm: EmotionalRewardModel) -> None:
    nn.init.zeros_(erm.heads.weight)
    nn.init.constant_(erm.heads.bias, math.log(0.8 / 0.2))  # phasic = 0.8 always
    for parameter in erm.tonic.parameters():
        nn.init.zeros_(parameter)  # update gate 1/2, candidate 0: each step halves the GRU's hidden
    signals, state = erm(states(erm, 1, 3))
    # hidden: -1 -> -1/2 -> -1/4 -> -1/8; tonic = (hidden + 1) / 2: 1/4, 3/8, 7/16
    for position, tonic in enumerate([0.25, 0.375, 0.4375]):
        expected = torch.full((6,), 0.6 * 0.8 + 0.4 * tonic)
        torch.testing.assert_close(signals.tensor[0, position], expected)
    torch.testing.assert_close(state.tonic, torch.full((1, 6), 0.4375))


@pytest.mark.parametrize("magnitude", [0.01, 1.0, 1000.0])
def test_an_untrained_model_triggers_no_rule(magnitude: float) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        for form in (ERMConfig.for_depth(30), ERMConfig.seed_form(15)):
            erm = EmotionalRewardModel(64, form).eval()
            signals, _ = erm(magnitude * torch.randn(8, 30, len(form.layers), 64))
            assert signals.tensor.min() > 0.0 and signals.tensor.max() < 0.5


def test_dropout_acts_in_train_mode_only(erm: EmotionalRewardModel) -> None:
    hidden = states(erm, 2, 5)
    assert torch.equal(erm(hidden)[0].tensor, erm(hidden)[0].tensor)
    erm.train()
    assert not torch.equal(erm(hidden)[0].tensor, erm(hidden)[0].tensor)


@pytest.mark.parametrize("path", ["full", "incremental"])
def test_gradients_reach_every_weight(erm: EmotionalRewardModel, path: str) -> None:
    hidden = states(erm, 3, 6)
    signals = erm(hidden)[0].tensor if path == "full" else incremental(erm, hidden)
    (signals * torch.randn_like(signals)).sum().backward()
    for name, parameter in erm.named_parameters():
        if name.endswith("mix") and parameter.numel() == 1:
            continue  # a single layer gets all of the mix
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-7, name


def test_half_precision_hidden_states_are_read(erm: EmotionalRewardModel) -> None:
    hidden = states(erm, 2, 4).to(torch.bfloat16)
    assert torch.equal(erm(hidden)[0].tensor, erm(hidden.float())[0].tensor)


def test_another_shape_is_an_error(erm: EmotionalRewardModel) -> None:
    with pytest.raises(ValueError, match=r"\[B, T, K, d\] with K = . and d = 10"):
        erm(states(erm, 2))
    with pytest.raises(ValueError, match=r"\[B, K, d\] with K = . and d = 10"):
        erm.step(states(erm, 2)[..., 1:], erm.initial_state(2))


def test_whole_texts_read_as_their_last_position(erm: EmotionalRewardModel) -> None:
    """The short path of training, and the reading after the last position."""
    hidden = states(erm, 3, 6)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    outputs = erm.outputs_of_members(hidden, mask).mean(0)
    emotions, labels, affect = erm.split(outputs)
    read = erm.read_off(erm.pools(hidden, mask=mask))
    torch.testing.assert_close(emotions.sigmoid(), read.emotions[:, -1])
    torch.testing.assert_close(labels.sigmoid(), read.labels[:, -1])
    torch.testing.assert_close(affect, read.affect[:, -1])


def test_the_seed_form_has_the_seeds_layers() -> None:
    erm = EmotionalRewardModel(64, ERMConfig.seed_form(3))
    [encoder] = erm.encoders
    kinds = [type(layer).__name__ for layer in encoder.get_submodule("layers").children()]
    assert kinds == ["Linear", "LayerNorm", "ReLU", "Dropout", "Linear", "ReLU"]
    assert erm.pooling.query.shape == (1, 4, 128)
    assert erm.heads.out_features == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layers", ()),
        ("layers", (3, 2)),
        ("layers", (-1, 2)),
        ("members", 0),
        ("queries", 0),
        ("dropout", 1.0),
        ("activation", "tanh"),
    ],
)
def test_a_form_that_cannot_be_is_an_error(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"ERMConfig.{field}"):
        ERMConfig(**{"layers": (1,), field: value})  # type: ignore[arg-type]
