"""The arithmetic of the users' benchmark, and that it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.users import STEP, Arguments, find_users, main, shares
from erm_gym.llm import load_llm


def test_shares_by_hand() -> None:
    found = shares({STEP: 50.0, "a": 10.0}, Arguments(new_tokens=20))
    # 10 ms for B replies of 20 steps of 50 ms
    assert found["a"]["share_of_a_step"] == pytest.approx(0.01)
    assert found["a"]["share_of_the_last_step"] == pytest.approx(0.2)


def test_a_user_that_cannot_be_made_is_named() -> None:
    made, left_out = find_users(("math:copysign", "no_such:user"), load_llm("tiny"))
    assert list(made) == ["math:copysign"]
    assert len(left_out) == 1 and "no_such:user" in left_out[0]


def test_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_of_a_benchmark.py").write_text("def half(prompt, reply):\n    return 0.5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    user = "users_of_a_benchmark:half"
    main(Arguments(llm="tiny", dtype="float32", quick=True, users=(user,)))
    assert f"{user}" in capsys.readouterr().out
