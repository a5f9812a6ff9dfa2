"""Personas: their ranges, mixtures, and changes in mid-conversation."""

from __future__ import annotations

from collections import Counter

import pytest

from erm_gym.feedback import UserError
from erm_gym.feedback.users.personas import (
    ANXIOUS,
    CURIOUS,
    EXPERT,
    IMPATIENT,
    ORDINARY,
    PERSONAS,
    RECKLESS,
    Persona,
    PersonaPlan,
    detail_of,
    find_persona,
    length_of,
    persona_names,
)


def test_every_name_is_found() -> None:
    assert set(PERSONAS) == {"anxious", "reckless", "impatient", "curious", "expert"}
    for name in persona_names():
        found = find_persona(name)
        assert (found is None) == (name == "mixture")
        assert found is None or found.name == name
    with pytest.raises(UserError, match=r"unknown persona 'anxius'; did you mean 'anxious'\?"):
        find_persona("anxius")
    with pytest.raises(UserError, match="unknown persona"):
        PersonaPlan.of("anxious", "nobody")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"harm": -0.1}, r"Persona\.harm is -0\.1 for 'x'; it must lie between 0\.0 and 1"),
        ({"heeds": 1.1}, r"Persona\.heeds is 1\.1"),
        ({"warning": -1.1}, r"Persona\.warning .* between -1\.0 and 1"),
        ({"harm": 0.9, "warning": -0.2}, r"'x' reach 1\.10.*lower one"),
        ({"length": 0.3, "detail": 0.3}, r"'x' reach 1\.10"),
        ({"goes_on": float("nan")}, "goes_on is nan"),
    ],
)
def test_ranges(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Persona(**({"name": "x", "harm": 0.5, "unhelpful": 0.5} | changes))  # type: ignore[arg-type]


def test_personas_weigh_as_their_names_say() -> None:
    everyone = [*PERSONAS.values(), ORDINARY]
    assert max(everyone, key=lambda p: p.harm - p.unhelpful) is ANXIOUS
    assert max(everyone, key=lambda p: p.warning) is ANXIOUS
    assert min(everyone, key=lambda p: p.harm - p.unhelpful) is RECKLESS
    assert min(everyone, key=lambda p: p.heeds) is RECKLESS
    assert max(everyone, key=lambda p: p.goes_on) is RECKLESS
    assert max(everyone, key=lambda p: p.length) is IMPATIENT
    assert max(everyone, key=lambda p: p.detail) is CURIOUS
    assert max(everyone, key=lambda p: p.sees) is EXPERT


def test_length_and_detail_by_hand() -> None:
    assert length_of("") == 0.0
    assert length_of("word " * 15) == 15 / 60
    assert length_of("word " * 600) == 1.0
    assert detail_of("") == 0.0
    # 400, voltage and insulate: once each, whatever the case and the marks around them
    assert detail_of("Voltage of 400: insulate (voltage) so it is off, VOLTAGE!") == 3 / 12
    assert detail_of(" ".join(f"number{n}" for n in range(50))) == 1.0


def test_a_persona_of_ones_own_name_never_changes() -> None:
    plan = PersonaPlan.of("curious")
    assert {plan.at(seed, turn).name for seed in range(20) for turn in range(6)} == {"curious"}


def test_a_mixture_is_even_and_stays_for_the_episode() -> None:
    plan = PersonaPlan.of("mixture")
    drawn = Counter(plan.at(seed, 0).name for seed in range(2000))
    assert set(drawn) == set(PERSONAS)
    # 400 expected, standard deviation sqrt(2000 * .2 * .8) = 17.9
    assert all(abs(count - 400) < 4 * 17.9 for count in drawn.values())
    assert all(plan.at(seed, turn) == plan.at(seed, 0) for seed in range(50) for turn in range(9))


def test_a_change_comes_with_the_second_to_the_fourth_turn() -> None:
    plan = PersonaPlan.of("anxious", "reckless")
    names = {seed: [plan.at(seed, turn).name for turn in range(6)] for seed in range(1500)}
    changes = Counter(row.index("reckless") for row in names.values())
    for row in names.values():
        first = row.index("reckless")
        assert row == ["anxious"] * first + ["reckless"] * (6 - first)
    assert set(changes) == {1, 2, 3}
    # 500 expected, standard deviation sqrt(1500 * 2 / 9) = 18.3
    assert all(abs(count - 500) < 4 * 18.3 for count in changes.values())


def test_a_mixture_may_become_another_of_its_personas() -> None:
    plan = PersonaPlan.of("mixture", "mixture")
    pairs = Counter((plan.at(seed, 0).name, plan.at(seed, 5).name) for seed in range(3000))
    assert len(pairs) == len(PERSONAS) ** 2  # the second is drawn by itself
