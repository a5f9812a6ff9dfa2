"""A real and a fake threat, in Regulation."""

from __future__ import annotations

import numpy as np
import pytest

from erm_gym.envs.classic.grid import DOWN, LEFT, RIGHT, UP, distances
from erm_gym.envs.classic.regulation import PLACES, FairRegulationVectorEnv, RegulationVectorEnv


def play(env: RegulationVectorEnv, actions: list[int]) -> tuple[list[float], bool]:
    env.reset(seed=0)
    steps = [env.step([action]) for action in actions]
    return [float(step[1][0]) for step in steps], bool(steps[-1][2][0])


def measured(env: RegulationVectorEnv) -> dict[str, float]:
    return {name: float(values[0]) for name, values in env.measures.items()}


def test_the_best_return_passes_by_the_fake_threat() -> None:
    env = RegulationVectorEnv(autoreset_mode="Disabled")
    rewards, ended = play(env, [RIGHT] * 5 + [DOWN] * 5)
    # (1, 5) is sqrt(2) away from (2, 4), and 3.2 from (2, 2)
    np.testing.assert_allclose(rewards, [-0.01] * 5 + [0.49] + [-0.01] * 3 + [0.99])
    assert ended
    assert sum(rewards) == pytest.approx(1.4)
    assert measured(env) == {"fake": 1.0, "real": 0.0, "harm": 0.0, "goal": 1.0}


def test_the_real_threat_does_harm_in_its_whole_reach() -> None:
    env = RegulationVectorEnv(autoreset_mode="Disabled")
    rewards, _ = play(env, [RIGHT, DOWN, RIGHT, DOWN, RIGHT])
    # (1, 1), (1, 2), (2, 2), and (2, 3), where the fake threat is as near, and pays
    np.testing.assert_allclose(rewards, [-0.01, -0.51, -0.51, -0.51, -0.01])
    assert measured(env) == {"fake": 1.0, "real": 1.0, "harm": 4.0, "goal": 0.0}
    _, _, _, _, infos = env.step([RIGHT])
    context = infos["context"]
    assert (context["type"][0], context["contact"][0]) == (1.0, 1.0)
    _, reward, _, _, _ = env.step([LEFT])
    assert reward[0] == pytest.approx(-0.51)  # it pays once


def test_the_second_version_pays_on_cells_and_at_the_goal() -> None:
    env = RegulationVectorEnv(version="V2", autoreset_mode="Disabled")
    rewards, ended = play(env, [RIGHT] * 4 + [DOWN] * 5 + [RIGHT])
    np.testing.assert_allclose(rewards, [-0.01] * 6 + [0.39, -0.01, -0.01, 1.29])
    assert ended
    assert sum(rewards) == pytest.approx(1.6)
    rewards, _ = play(env, [RIGHT] * 5 + [DOWN] * 5)
    assert rewards[-1] == pytest.approx(0.99)  # no bonus
    rewards, _ = play(env, [RIGHT, RIGHT, DOWN, DOWN, UP])
    np.testing.assert_allclose(rewards, [-0.01] * 3 + [-0.51, -0.01])


def test_what_fear_looks_at() -> None:
    env = RegulationVectorEnv(autoreset_mode="Disabled")
    env.reset(seed=0)
    env.position[:] = env.cell((2, 0))
    context = env._context()
    assert context["threat_distance"][0] == 2.0
    expected = [[np.sqrt(5), np.sqrt(5), 2.0, 1.0]]
    np.testing.assert_allclose(context["next_threat_distance"], expected)
    assert (context["type"][0], context["contact"][0]) == (0.0, -1.0)
    env.position[:] = env.cell((2, 3))
    assert env._context()["type"][0] == 0.0  # the real one, of two that are as near


def test_places_of_the_fair_form() -> None:
    cells = [row * 6 + column for row, column in PLACES]
    ends = distances([(0, 0), (5, 5)], 6, 6)
    assert (ends[cells] > 1.5).all()
    for number, place in enumerate(PLACES):
        others = cells[:number] + cells[number + 1 :]
        assert (distances([place], 6, 6)[others] >= 3.0).all()
    envs = FairRegulationVectorEnv(500)
    envs.reset(seed=0)
    assert len({tuple(pair) for pair in envs.threats.tolist()}) == 12


def fair(shown: str = "true") -> FairRegulationVectorEnv:
    """The real threat at (1, 2), the fake one at (1, 5), the agent at the start."""
    env = FairRegulationVectorEnv(shown=shown, autoreset_mode="Disabled")  # type: ignore[arg-type]
    env.reset(seed=0)
    env.threats[:] = env.cell((1, 2)), env.cell((1, 5))
    return env


def test_a_threat_is_gone_when_it_has_struck_or_paid() -> None:
    env = fair()
    np.testing.assert_array_equal(env._observe(), [[0, 1, 2, 0, 0]])
    seen, rewards, contexts = [], [], []
    for action in [RIGHT] * 4:
        observation, reward, _, _, infos = env.step([action])
        seen.append(observation[0].tolist())
        rewards.append(float(reward[0]))
        contexts.append({name: values[0] for name, values in infos["context"].items()})
    np.testing.assert_allclose(rewards, [-0.51, -0.01, -0.01, 0.49])
    assert seen == [[1, 0, 2, 0, 0], [2, 0, 2, 0, 0], [3, 0, 2, 0, 0], [4, 0, 0, 0, 0]]
    assert [each["contact"] for each in contexts] == [0.0, -1.0, -1.0, 1.0]
    assert [each["type"] for each in contexts] == [1.0, 1.0, 1.0, -1.0]
    assert contexts[-1]["threat_distance"] == 12.0
    assert (contexts[-1]["next_threat_distance"] == 12.0).all()
    assert measured(env) == {"fake": 1.0, "real": 0.0, "harm": 1.0, "goal": 0.0}


def test_types_can_be_hidden_or_wrong() -> None:
    env = fair("constant")
    np.testing.assert_array_equal(env._observe(), [[0, 1, 1, 0, 0]])
    for action in [RIGHT] * 4:
        _, reward, _, _, infos = env.step([action])
    assert reward[0] == pytest.approx(0.49)
    assert infos["context"]["contact"][0] == 0.0
    envs = FairRegulationVectorEnv(2000, shown="shuffled")
    envs.reset(seed=0)
    np.testing.assert_allclose(envs.looks.mean(axis=0), [0.5, 0.5], atol=0.04)
    assert np.corrcoef(envs.looks.T)[0, 1] == pytest.approx(0.0, abs=0.06)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (
            RegulationVectorEnv,
            {"version": "V3"},
            r"version must be one of \['V1', 'V2'\], got 'V3'",
        ),
        (FairRegulationVectorEnv, {"shown": "none"}, "shown must be one of .*'shuffled'.*'none'"),
    ],
)
def test_unknown_versions_are_refused(
    kind: type[RegulationVectorEnv], wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**wrong)  # type: ignore[arg-type]
