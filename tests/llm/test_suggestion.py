"""Names that were mistyped."""

from __future__ import annotations

from erm_gym.llm.suggestion import nearest, suggest


def test_the_nearest_name_or_all_of_them() -> None:
    names = ("ppo", "emotional-ppo", "feared-dqn")
    assert suggest("emotinal-ppo", names) == "did you mean 'emotional-ppo'?"
    assert suggest("zzz", names) == "there are ['ppo', 'emotional-ppo', 'feared-dqn']"
    assert suggest("ppo", iter(())) == "there are []"


def test_how_like_a_name_must_be_can_be_said() -> None:
    assert nearest("tinyllama", ["tiny"]) == "tiny"  # 8 of 13 letters agree
    assert nearest("tinyllama", ["tiny"], likeness=0.7) is None
