"""The fair comparison of an emotional agent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erm_gym.cli.ablate import ablation_table, verdict_text
from erm_gym.evaluation import RunError
from erm_gym.evaluation.emotional_ed.ablation import (
    FILE,
    AblationConfig,
    ablate,
    run_variant,
    usual_config,
)
from erm_gym.evaluation.emotional_ed.ablation_picture import plot_ablation
from erm_gym.evaluation.emotional_ed.variants import EMOTIONAL, VARIANTS

CONFIG = AblationConfig(
    agent="feared-q",
    env="ErmGym/FearGrid-v1",
    seeds=4,
    episodes=6,
    evaluation_episodes=3,
    trials=2,
    search_seeds=2,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("ablation")
    return out, ablate(CONFIG, out, jobs=1)


def test_every_variant_is_there_and_judged(finished: tuple[Path, dict[str, Any]]) -> None:
    out, results = finished
    assert set(results["variants"]) == set(VARIANTS) - {"risk-averse"}
    assert results["verdict"]["word"] in {"helps", "equivalent", "hurts", "undecided"}
    assert json.loads((out / FILE).read_text()) == results
    for found in results["variants"].values():
        assert len(found["scores"]) == CONFIG.seeds
    controls = [results["variants"][name] for name in ("placebo", "constant", "action-part")]
    for control in controls:
        assert control["parameters"] == results["variants"][EMOTIONAL]["parameters"]


def test_the_baseline_was_chosen_in_the_search(finished: tuple[Path, dict[str, Any]]) -> None:
    variants = finished[1]["variants"]
    tuned = {name: one["search_score"] for name, one in variants.items() if one["baseline"]}
    assert finished[1]["verdict"]["baseline"] == max(tuned, key=lambda name: tuned[name])


def test_a_second_call_goes_on(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    _, results = finished
    kept = {**results, "variants": dict(results["variants"])}
    del kept["variants"]["off"]
    (tmp_path / FILE).write_text(json.dumps(kept))
    seen: list[tuple[str, int]] = []
    again = ablate(CONFIG, tmp_path, lambda name, done, total: seen.append((name, done)), jobs=1)
    assert seen == [("off", len(results["variants"]))]
    assert again["variants"]["off"]["scores"] == results["variants"]["off"]["scores"]


def test_another_comparison_in_the_folder_is_refused(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    with pytest.raises(RunError, match="holds another comparison"):
        ablate(replace(CONFIG, episodes=7), finished[0], jobs=1)


def test_the_signal_at_weight_zero_is_the_signal_off() -> None:
    off = run_variant(CONFIG, "off")
    silent = run_variant(
        CONFIG,
        "action-part",
        {EMOTIONAL: {"parameters": off["parameters"] | {"weight": 0.0}, "levels": [[0.0] * 4]}},
    )
    assert silent["scores"] == off["scores"]
    assert silent["curve"] == off["curve"]


def test_table_verdict_and_picture(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    results = finished[1]
    assert ablation_table(results).row_count == len(results["variants"])
    assert results["verdict"]["baseline"] in verdict_text(results).plain
    plot_ablation(results, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "No verdict" in verdict_text({}).plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "seeds must be at least 2, got 1"),
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"agent": "q"}, "'q' has no channel"),
    ],
)
def test_bad_options(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        replace(CONFIG, **change)


@pytest.mark.parametrize("env", ["ErmGym/NoSuch-v0", "CartPole-v1", "ErmGym/TokenGeneration-v0"])
def test_environments_without_a_table_are_refused(env: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"{env}"):
        ablate(replace(CONFIG, env=env), tmp_path, jobs=1)


def test_a_deep_agent_is_compared_with_risk_aversion(tmp_path: Path) -> None:
    config = usual_config("feared-dqn", seeds=2, episodes=2, evaluation_episodes=1, trials=1)
    assert (config.env, config.search_seeds) == ("ErmGym/SlipperyCliff-v1", 3)
    results = ablate(replace(config, search_seeds=2), tmp_path, jobs=1)
    assert set(results["variants"]) == set(VARIANTS) - {"pearce-hall", "sticky-blocked"}
    assert results["variants"]["risk-averse"]["parameters"].keys() == {"learning_rate", "risk"}
    assert results["variants"]["observation"]["scores"] != results["variants"]["off"]["scores"]


def test_scores_are_those_of_unshaped_returns() -> None:
    found = run_variant(CONFIG, "shaping")
    assert np.all(np.array(found["scores"]) <= 1.0)
