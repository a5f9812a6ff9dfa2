"""From 28 labels to six emotions, by hand."""

from __future__ import annotations

from erm_gym.emotion import EMOTIONS
from erm_gym.emotion.training.labels import ADAPTERS, GOEMOTIONS, emotion_targets, label_matrix


def targets_of(*names: str) -> tuple[dict[str, float], dict[str, bool]]:
    numbers = [GOEMOTIONS.index(name) for name in names]
    targets, known = emotion_targets(label_matrix([numbers]))
    return (
        dict(zip(EMOTIONS, targets[0].tolist(), strict=True)),
        dict(zip(EMOTIONS, known[0].tolist(), strict=True)),
    )


def test_every_emotion_has_an_adapter_of_labels_that_exist() -> None:
    assert tuple(adapter.emotion for adapter in ADAPTERS) == EMOTIONS
    for adapter in ADAPTERS:
        assert adapter.signs
        assert set(adapter.signs) | set(adapter.opposites) <= set(GOEMOTIONS)
        assert not set(adapter.signs) & set(adapter.opposites)


def test_label_numbers_become_columns() -> None:
    matrix = label_matrix([[27], [0, 2]])
    assert matrix.shape == (2, 28)
    assert matrix.nonzero().tolist() == [[0, 27], [1, 0], [1, 2]]


def test_nervousness_is_fear_and_anxiety_and_no_confidence() -> None:
    targets, known = targets_of("nervousness")
    assert targets == {**dict.fromkeys(EMOTIONS, 0.0), "fear": 1.0, "anxiety": 1.0}
    assert all(known.values())


def test_a_neutral_text_says_nothing_about_confidence() -> None:
    targets, known = targets_of("neutral")
    assert set(targets.values()) == {0.0}
    assert known == {**dict.fromkeys(EMOTIONS, True), "confidence": False}


def test_both_sides_cancel() -> None:
    assert targets_of("pride")[0]["confidence"] == 1.0
    assert targets_of("pride")[1]["confidence"]
    assert not targets_of("pride", "confusion")[1]["confidence"]
    assert targets_of("disgust", "joy")[0]["anger"] == 1.0
    assert targets_of("disgust", "joy")[0]["joy"] == 1.0
