"""Learning while acting, on contexts of random hidden states."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from erm_gym.emotion import (
    CriticConfig,
    EmotionalCritic,
    ERMConfig,
    OnlineCriticTrainer,
    OnlineTraining,
)

D = 192
TOPICS = torch.randn(40, D, generator=torch.Generator().manual_seed(1))
TOPIC, UNRELATED, ANCHORS = 0, range(1, 16), range(16, 40)


def said(topic: int, seed: int = 0, positions: int = 6) -> torch.Tensor:
    """Hidden states of something about a topic, `[T, 3, D]`; the seed is the wording."""
    generator = torch.Generator().manual_seed(1000 * topic + seed)
    return TOPICS[topic] + 0.7 * torch.randn(positions, 3, D, generator=generator)


def reply(topic: int, seed: int) -> list[torch.Tensor]:
    return [said(topic), said(topic, 100 + seed, positions=4)]


@pytest.fixture
def critic() -> EmotionalCritic:
    form = ERMConfig(
        layers=(2, 3), members=2, width=64, encoded_size=32, labels=("a", "b"), affect=True
    )
    config = CriticConfig(
        llm_name="any", llm_fingerprint="0", hidden_size=D, vocab_size=9, layer=1, erm=form
    )
    return EmotionalCritic(config).eval()


def make_trainer(critic: EmotionalCritic, **changes: Any) -> OnlineCriticTrainer:
    training = OnlineTraining(**{"learning_rate": 2e-3, **changes})
    return OnlineCriticTrainer(critic, training, anchors=[said(topic) for topic in ANCHORS])


@torch.no_grad()
def felt(critic: EmotionalCritic, topic: int, seed: int = 0) -> torch.Tensor:
    """The ERM's phasic emotions and labels, danger, and fear as the policy feels it: `[10]`."""
    hidden = said(topic, seed)[None]
    signals, fear, state = critic.observe(hidden, critic.initial_state(1))
    reading = critic.erm.read_off(state.erm.pool)
    parts = [reading.emotions[0], reading.labels[0], fear[0, :1], signals.fear]
    return torch.cat(parts)


def weights(critic: EmotionalCritic) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in critic.state_dict().items()}


def changed(critic: EmotionalCritic, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, own in critic.state_dict().items() if not torch.equal(own, before[name])}


def suffer(trainer: OnlineCriticTrainer, feedback: float = -1.0, times: int = 10) -> None:
    for seed in range(times):
        trainer.record(reply(TOPIC, seed), feedback)
        trainer.update()


def test_bad_outcomes_raise_the_fear_of_their_context_and_of_little_else(
    critic: EmotionalCritic,
) -> None:
    before, start = weights(critic), [felt(critic, topic) for topic in UNRELATED]
    own, reworded = felt(critic, TOPIC), felt(critic, TOPIC, seed=1)
    suffer(make_trainer(critic))
    rise = felt(critic, TOPIC) - own
    assert rise[0] > 0.4  # the ERM's own fear
    assert rise[-2] > 0.01  # danger
    assert rise[-1] > 0.25  # what the policy feels
    assert (felt(critic, TOPIC, seed=1) - reworded)[0] > 0.5 * rise[0]
    elsewhere = torch.stack(
        [felt(critic, topic) - old for topic, old in zip(UNRELATED, start, strict=True)]
    ).abs()
    for column in (0, -1):
        assert elsewhere[:, column].mean() < 0.1 * rise[column]
        assert elsewhere[:, column].max() < 0.2 * rise[column]
    assert rise[1:-2].abs().max() < 0.2 * rise[0]  # other emotions, and labels
    learned = changed(critic, before)
    for part in ("erm.encoders.0", "erm.encoders.1", "erm.pooling", "erm.heads"):
        assert any(name.startswith(part) for name in learned), part
    assert {name for name in learned if not name.startswith("erm.")} == {
        "fear_module.danger_net.2.weight",
        "fear_module.danger_net.2.bias",
    }
    assert not any("tonic" in name for name in learned)


def test_good_outcomes_lower_needless_fear_and_far_less_of_it_elsewhere(
    critic: EmotionalCritic,
) -> None:
    with torch.no_grad():
        critic.erm.heads.bias[0] = 2.0
        critic.fear_module.danger_net.get_parameter("2.bias").fill_(1.0)
    own, start = felt(critic, TOPIC), [felt(critic, topic) for topic in UNRELATED]
    suffer(make_trainer(critic), feedback=1.0)
    fall = own - felt(critic, TOPIC)
    assert fall[0] > 0.3
    assert fall[-2] > 0.01
    elsewhere = torch.stack(
        [felt(critic, topic) - old for topic, old in zip(UNRELATED, start, strict=True)]
    ).abs()
    assert elsewhere[:, 0].mean() < 0.2 * fall[0]


def test_fear_that_was_learned_can_be_unlearned(critic: EmotionalCritic) -> None:
    trainer = make_trainer(critic)
    suffer(trainer)
    assert felt(critic, TOPIC)[-1] > 0.5
    suffer(trainer, feedback=1.0)
    assert felt(critic, TOPIC)[-1] < 0.5


def test_mixed_outcomes_do_not_end_at_either_side(critic: EmotionalCritic) -> None:
    trainer = make_trainer(critic, max_drift=1.0)
    for _ in range(10):
        suffer(trainer, times=2)
        suffer(trainer, feedback=1.0, times=2)
    assert 0.2 < felt(critic, TOPIC)[0] < 0.8


@pytest.mark.parametrize("feedback", [-0.5, 0.0, 0.5, 1.0])
def test_nothing_is_learned_from_what_was_neutral_or_right(
    critic: EmotionalCritic, feedback: float
) -> None:
    before = weights(critic)
    trainer = make_trainer(critic)
    trainer.record(reply(TOPIC, 0), feedback)
    update = trainer.update()
    assert (update.raised, update.lowered, update.step, update.drift) == (0, 0, 0.0, 0.0)
    assert math.isnan(update.loss)
    assert changed(critic, before) == set()


def test_a_bad_outcome_at_high_fear_teaches_nothing(critic: EmotionalCritic) -> None:
    with torch.no_grad():
        critic.fear_module.danger_net.get_parameter("2.bias").fill_(1.0)
    trainer = make_trainer(critic)
    trainer.record(reply(TOPIC, 0), -1.0)
    assert trainer.update().raised == 0
    trainer.record(reply(TOPIC, 0), 1.0)
    assert trainer.update().lowered == 2


def test_neutral_contexts_hold_what_is_felt_in_them(critic: EmotionalCritic) -> None:
    """A neighbour that was neutral keeps its fear better than one that nothing is known of."""
    near, moves = said(TOPIC, seed=1), []
    for known in (False, True):
        own = copy.deepcopy(critic)
        trainer = OnlineCriticTrainer(own, OnlineTraining(anchor_weight=3.0))
        if known:
            trainer.record([near, said(TOPIC, 200)], 0.0)
            trainer.update()
        before = felt(own, TOPIC, seed=1)[0]
        suffer(trainer, times=5)
        moves.append(felt(own, TOPIC, seed=1)[0] - before)
    assert moves[1] < 0.8 * moves[0]


@pytest.mark.parametrize(("max_step", "max_drift"), [(0.01, 1.0), (1.0, 0.05)])
def test_the_weights_move_no_further_than_they_are_let(
    critic: EmotionalCritic, max_step: float, max_drift: float
) -> None:
    trainer = make_trainer(critic, learning_rate=0.5, max_step=max_step, max_drift=max_drift)
    start = torch.nn.utils.parameters_to_vector(
        own for name, own in critic.erm.named_parameters() if "tonic" not in name
    ).detach()
    drifts = []
    for seed in range(8):
        before = torch.nn.utils.parameters_to_vector(critic.erm.parameters()).detach()
        trainer.record(reply(TOPIC, seed), -1.0 if seed % 2 else 1.0)
        trainer.record(reply(TOPIC + 1, seed), 1.0 if seed % 2 else -1.0)
        update = trainer.update()
        moved = torch.nn.utils.parameters_to_vector(critic.erm.parameters()).detach() - before
        assert float(moved.norm()) <= 1.0001 * max_step * float(start.norm())
        assert update.step <= 1.0001 * max_step
        assert update.drift <= 1.0001 * max_drift
        drifts.append(update.drift)
    assert max(drifts) > 0.9 * min(max_step, max_drift)  # the bound was needed


@pytest.mark.parametrize(
    ("turns", "feedback", "message"),
    [
        (reply(TOPIC, 0), math.nan, r"feedback must be in \[-1, 1\], got nan"),
        (reply(TOPIC, 0), math.inf, r"feedback must be in \[-1, 1\], got inf"),
        (reply(TOPIC, 0), -1.5, r"feedback must be in \[-1, 1\], got -1.5"),
        ([said(TOPIC)], -1.0, "ending with a reply; got 1"),
        ([], -1.0, "ending with a reply; got 0"),
        ([said(TOPIC), said(TOPIC)[:, :2]], -1.0, r"must be \[T, 3, 192\].*got \(6, 2, 192\)"),
        ([said(TOPIC), said(TOPIC)[:0]], -1.0, r"must be \[T, 3, 192\].*got \(0, 3, 192\)"),
        ([said(TOPIC) * math.nan, said(TOPIC)], -1.0, "must be finite"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    critic: EmotionalCritic, turns: list[torch.Tensor], feedback: float, message: str
) -> None:
    before, trainer = weights(critic), make_trainer(critic)
    with pytest.raises(ValueError, match=message):
        trainer.record(turns, feedback)
    trainer.update()
    assert changed(critic, before) == set()


def test_a_loss_that_is_no_number_changes_nothing(critic: EmotionalCritic) -> None:
    trainer = make_trainer(critic)
    suffer(trainer, times=2)
    before = weights(critic)
    trainer.record([said(TOPIC).clamp(-1, 1) * 3e38, said(TOPIC)], -1.0)
    with pytest.raises(FloatingPointError, match="the critic is as it was"):
        trainer.update()
    assert changed(critic, before) == set()
    suffer(trainer, times=1)  # the reply is forgotten, and learning goes on
    assert changed(critic, before)


def test_restoring_is_exact_and_forgets_everything(critic: EmotionalCritic) -> None:
    start = weights(critic)
    trainer = make_trainer(critic)
    suffer(trainer, times=3)
    learned = weights(critic)
    assert trainer.drift > 0
    trainer.restore()
    assert changed(critic, start) == set()
    assert trainer.drift == 0.0
    suffer(trainer, times=3)
    assert changed(critic, learned) == set()


def test_a_copy_goes_on_from_what_was_learned(critic: EmotionalCritic) -> None:
    original = copy.deepcopy(critic)
    suffer(make_trainer(critic))
    trainer = make_trainer(original)
    trainer.resume(critic)
    assert changed(original, weights(critic)) == set()
    assert trainer.drift > 0.01  # still measured from the start
    trainer.restore()
    assert felt(original, TOPIC)[0] < 0.2


def test_the_same_seed_learns_the_same(critic: EmotionalCritic) -> None:
    learned = []
    for number, seed in enumerate((0, 0, 1)):
        own = copy.deepcopy(critic)
        trainer = make_trainer(own, seed=seed, batch_size=3)
        torch.manual_seed(number)
        before = torch.get_rng_state()
        suffer(trainer, times=6)
        assert torch.equal(torch.get_rng_state(), before)
        learned.append(weights(own))
    one, same, other = learned
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_reply_told_many_times_at_once_is_learned_as_one(critic: EmotionalCritic) -> None:
    learned = []
    for times in (1, 4):
        own = copy.deepcopy(critic)
        trainer = OnlineCriticTrainer(own, OnlineTraining(position_dropout=0.0))
        for _ in range(times):
            trainer.record(reply(TOPIC, 0), -1.0)
        assert trainer.update().raised == 2 * times
        learned.append(felt(own, TOPIC))
    torch.testing.assert_close(learned[0], learned[1], atol=1e-4, rtol=0)


def test_every_new_reply_is_learned_from_however_many_there_are(critic: EmotionalCritic) -> None:
    trainer = make_trainer(critic, batch_size=2)
    for topic in range(7):
        trainer.record(reply(topic, 0), -1.0)
    before = [felt(critic, topic)[0] for topic in range(7)]
    assert trainer.update().raised == 14
    assert trainer.update().raised == 0
    for topic, old in enumerate(before):
        assert felt(critic, topic)[0] > old


def test_memory_is_bounded(critic: EmotionalCritic) -> None:
    trainer = make_trainer(critic, replay_size=4, max_positions=8)
    for seed in range(9):
        long = said(TOPIC, 100 + seed, positions=50)
        trainer.record([said(TOPIC), long, said(TOPIC, seed), long], -1.0)
    assert len(trainer._new) == 4
    for _ in range(2):
        suffer(trainer, times=3)
        assert len(trainer._replay) == 4
    kept = [lesson.context.states for lessons in trainer._replay for lesson in lessons]
    assert max(map(len, kept)) == 8
    assert all(own.untyped_storage().nbytes() == own.nbytes for own in kept)


def test_a_state_in_the_middle_of_a_text_stays_valid(critic: EmotionalCritic) -> None:
    _, _, state = critic.observe(said(TOPIC)[None], critic.initial_state(1))
    trainer = make_trainer(critic)
    suffer(trainer)
    rest = said(TOPIC, 5)[None]
    signals, _, _ = critic.observe(rest, state.detach())
    anew, _, _ = critic.observe(torch.cat([said(TOPIC)[None], rest], 1), critic.initial_state(1))
    assert signals.fear > 0.25
    torch.testing.assert_close(signals.tensor, anew.tensor, atol=0.25, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bad_score": -2.0}, "bad_score"),
        ({"bad_score": 0.6}, "good_score"),
        ({"low_aim": 0.9}, "high_aim"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"max_step": 0.0}, "max_step"),
        ({"replay_size": 0}, "replay_size"),
        ({"anchor_weight": -1.0}, "anchor_weight"),
        ({"seed": -1}, "seed"),
    ],
)
def test_hyperparameters_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"OnlineTraining\.{message} is"):
        OnlineTraining(**changes)
