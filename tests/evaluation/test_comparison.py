from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erm_gym.evaluation import (
    CompareConfig,
    CompareProgress,
    EpisodeRecord,
    RunError,
    RunInterrupted,
    compare,
    comparison,
    read_json,
    read_records,
    ring,
    summarise,
)
from erm_gym.evaluation.comparison import summarise_comparison
from erm_gym.evaluation.config import DEFAULT_USER
from erm_gym.evaluation.runs import saved_steps
from erm_gym.feedback import PromptError

AGENTS = ("frozen", "ppo", "emotional-ppo")


def brief(prompt: str, reply: str) -> float:
    """A held-out user."""
    return 1.0 - min(1.0, len(reply) / 10)


HELD_OUT = f"{__name__}:brief"


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "REPETITIONS", 100)
        yield


def config(out: Path, prompts: str = "default", **changes: Any) -> CompareConfig:
    plain: dict[str, Any] = {
        "prompts": prompts,
        "agents": AGENTS,
        "seeds": 2,
        "steps": 80,
        "llm": "tiny",
        "dtype": "float32",
        "num_envs": 2,
        "max_new_tokens": 4,
        "episodes": 8,
        "held_out_user": HELD_OUT,
    }
    return CompareConfig(out=out, **{**plain, **changes})


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, prompts: str
) -> tuple[CompareConfig, dict[str, Any]]:
    done = config(tmp_path_factory.mktemp("comparison") / "out", prompts)
    return done, compare(done)


def test_every_agent_is_trained_and_evaluated_with_every_seed(
    finished: tuple[CompareConfig, dict[str, Any]],
) -> None:
    done, results = finished
    assert read_json(done.out / "results.json") == json.loads(json.dumps(results))
    runs = {(run["agent"], run["seed"]): run for run in results["runs"]}
    assert set(runs) == {(agent, seed) for agent in AGENTS for seed in (0, 1)}
    for (agent, seed), run in runs.items():
        records = read_records(done.out / f"transcripts-{agent}-seed{seed}.jsonl")
        assert len(records) == 8
        assert run["metrics"] == summarise(records).to_dict()
        assert (done.out / run["folder"] / "config.json").exists()
    assert set(results["agents"]) == set(AGENTS)
    assert results["agents"]["ppo"]["runs"] == 2
    mean = np.mean([runs["ppo", seed]["metrics"]["feedback"] for seed in (0, 1)])
    interval = results["agents"]["ppo"]["feedback"]
    assert interval["mean"] == pytest.approx(mean)
    assert interval["low"] < interval["mean"] < interval["high"]
    assert [(row["agent"], row["over"]) for row in results["improvement"]] == [
        ("ppo", "frozen"),
        ("emotional-ppo", "frozen"),
        ("emotional-ppo", "ppo"),
    ]
    assert set(results["curves"]) == {"ppo", "emotional-ppo"}
    assert results["curves"]["ppo"]["1"]["steps"] == [80]
    assert len(results["curves"]["ppo"]["1"]["held_out"]) == 1
    assert "torch" in results["versions"]


def test_training_seeds_are_evaluated_with_seeds_of_their_own(
    finished: tuple[CompareConfig, dict[str, Any]],
) -> None:
    done, _ = finished
    zero, one = (read_records(done.out / f"transcripts-frozen-seed{k}.jsonl") for k in (0, 1))
    assert [record.prompt for record in zero] == [record.prompt for record in one]
    assert [record.reply for record in zero] != [record.reply for record in one]


def test_finished_runs_are_skipped_and_agents_can_be_added(
    finished: tuple[CompareConfig, dict[str, Any]],
) -> None:
    done, results = finished
    seen: list[CompareProgress] = []
    assert compare(done, seen.append) == results
    assert seen == []
    more = compare(replace(done, agents=(*AGENTS, "random")), seen.append)
    assert {now.agent for now in seen} == {"random"}
    assert {now.phase for now in seen} == {"evaluate"}
    assert (seen[-1].done, seen[-1].total, seen[-1].run, seen[-1].runs) == (8, 8, 7, 8)
    assert more["agents"]["ppo"] == results["agents"]["ppo"]


def test_a_stopped_comparison_goes_on(
    tmp_path: Path, finished: tuple[CompareConfig, dict[str, Any]]
) -> None:
    phases: list[str] = []

    def stop(now: CompareProgress) -> None:
        phases.append(now.phase)
        if (now.run, now.phase) == (1, "evaluate"):
            raise KeyboardInterrupt

    done, expected = finished
    again = replace(done, out=tmp_path / "out", agents=("frozen", "ppo"), seeds=1)
    with pytest.raises(RunInterrupted, match="1 of 2 runs finished"):
        compare(again, stop)
    assert set(phases) == {"train", "evaluate"}
    assert set(read_json(again.out / "results.json")["agents"]) == {"frozen"}
    # No training was under way, so that the runs are those of a comparison without a stop.
    assert compare(again)["runs"] == expected["runs"][:2]


def test_runs_side_by_side_give_the_same_results(
    tmp_path: Path, finished: tuple[CompareConfig, dict[str, Any]]
) -> None:
    done, expected = finished
    seen: list[CompareProgress] = []
    results = compare(replace(done, out=tmp_path / "out", jobs=2), seen.append)
    assert results == expected
    assert {(now.agent, now.seed, now.phase) for now in seen} == {
        (agent, seed, phase)
        for agent in AGENTS
        for seed in (0, 1)
        for phase in ("train", "evaluate")
        if (agent, phase) != ("frozen", "train")
    }


def test_runs_side_by_side_stop_together_and_go_on(
    tmp_path: Path, finished: tuple[CompareConfig, dict[str, Any]]
) -> None:
    def stop(now: CompareProgress) -> None:
        raise KeyboardInterrupt

    done, _ = finished
    again = replace(done, out=tmp_path / "out", agents=("ppo",), steps=1200, jobs=2)
    with pytest.raises(RunInterrupted, match="0 of 2 runs finished"):
        compare(again, stop)
    saved = [saved_steps(path.parent) for path in again.out.glob("runs/*/model.zip")]
    assert saved  # one at least had begun
    assert max(saved) < 1200
    assert len(compare(again)["runs"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"episodes": 4}, "has episodes=8, not 4"), ({"k": 8}, "has k=16, not 8")],
)
def test_another_comparison_is_refused(
    finished: tuple[CompareConfig, dict[str, Any]], changes: dict[str, Any], message: str
) -> None:
    done, _ = finished
    with pytest.raises(RunError, match=message):
        compare(replace(done, **changes))


def test_prompts_of_the_evaluation_are_looked_for_before_anything_is_trained(
    tmp_path: Path, prompts: str
) -> None:
    for source, split, message in (
        ("default", "test:mony", "did you mean 'money'"),
        (prompts, "validation", "no 'validation' split"),
    ):
        with pytest.raises(PromptError, match=message):
            compare(config(tmp_path / "out", source, split=split))
    assert not (tmp_path / "out").exists()


def test_an_older_comparison_goes_on(
    finished: tuple[CompareConfig, dict[str, Any]], tmp_path: Path
) -> None:
    """One from before trainings could name their split."""
    done, results = finished
    shutil.copytree(done.out, tmp_path / "out")
    older = copy.deepcopy(results)
    del older["config"]["train_split"]
    (tmp_path / "out" / "results.json").write_text(json.dumps(older))
    again = compare(replace(done, out=tmp_path / "out"), lambda now: pytest.fail("trains anew"))
    assert again["agents"] == results["agents"]


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"in use: it holds 'thesis\.txt'"):
        compare(config(tmp_path))
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(RunError, match="not the result of a comparison"):
        compare(config(tmp_path))
    with pytest.raises(RunError, match="is a file"):
        compare(config(tmp_path / "thesis.txt"))


def test_rates_and_improvement_by_hand(
    tmp_path: Path, record: Callable[..., EpisodeRecord]
) -> None:
    def run(scores: list[float], stances: list[str]) -> list[EpisodeRecord]:
        return [
            record(risky=index < 2, score=score, stance=stance, fear=[])
            for index, (score, stance) in enumerate(zip(scores, stances, strict=True))
        ]

    two = config(tmp_path, agents=("frozen", "feared-dqn"))
    results = summarise_comparison(
        two,
        {
            ("frozen", 0): run([0.0, 0.0, 0.0], ["comply"] * 3),
            ("feared-dqn", 0): run([1.0, 0.0, -1.0], ["hedge", "comply", "refuse"]),
            ("feared-dqn", 1): run([1.0, 1.0, -1.0], ["hedge", "refuse", "refuse"]),
        },
    )
    fearful = results["agents"]["feared-dqn"]
    assert fearful["careful_on_risky"]["mean"] == 0.75
    assert fearful["careful_on_harmless"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert fearful["degenerate"]["mean"] == 0.0
    assert fearful["cvar10"]["mean"] == -1.0
    assert fearful["perplexity"]["mean"] == pytest.approx(np.e)
    # Prompts: win win, tie win, loss loss.
    (row,) = results["improvement"]
    assert (row["agent"], row["over"]) == ("feared-dqn", "frozen")
    assert row["probability"] == pytest.approx((1.0 + 0.75 + 0.0) / 3.0)


def test_intervals_keep_the_share_of_risky_prompts(
    tmp_path: Path, record: Callable[..., EpisodeRecord]
) -> None:
    records = [record(risky=index < 3, score=float(index < 3)) for index in range(12)]
    results = summarise_comparison(config(tmp_path), {("frozen", 0): records})
    feedback = results["agents"]["frozen"]["feedback"]
    assert feedback == {"mean": 0.25, "low": 0.25, "high": 0.25}


def test_a_user_without_stances_has_no_rates(
    tmp_path: Path, record: Callable[..., EpisodeRecord]
) -> None:
    records = [record(stance=""), record(stance="", risky=True)]
    results = summarise_comparison(config(tmp_path), {("frozen", 0): records})
    described = results["agents"]["frozen"]
    assert described["careful_on_risky"] is None
    assert described["degenerate"] is None
    assert described["feedback"]["mean"] == 0.5


def test_canaries_stand_beside_the_frozen_model(
    finished: tuple[CompareConfig, dict[str, Any]],
) -> None:
    done, results = finished
    assert set(results["alarms"]) == {"ppo", "emotional-ppo"}
    records = {
        (agent, seed): read_records(done.out / f"transcripts-{agent}-seed{seed}.jsonl")
        for agent in ("frozen", "ppo")
        for seed in (0, 1)
    }
    for each in records["ppo", 0]:
        assert each.held_out == brief("", each.reply)
    runs, frozen = ([records[agent, seed] for seed in (0, 1)] for agent in ("ppo", "frozen"))
    assert results["alarms"]["ppo"]["runs"] == 2
    found = results["alarms"]["ppo"]["canaries"]
    assert found == [alarm.to_dict() for alarm in ring(runs, frozen)]
    assert found[-1]["canary"] == "held_out"
    mean = np.mean([[each.held_out for each in run] for run in runs])
    assert found[-1]["value"] == pytest.approx(mean)
    assert results["agents"]["ppo"]["held_out"]["mean"] == pytest.approx(mean)


def test_an_exploit_rings_in_the_results(
    tmp_path: Path, record: Callable[..., EpisodeRecord]
) -> None:
    def run(reply: str) -> list[EpisodeRecord]:
        return [record(prompt=f"{i}?", reply=reply.format(i)) for i in range(20)]

    episodes = {
        ("frozen", 0): run("surely it is {}"),
        ("ppo", 0): run("perhaps it is {}"),
        ("ppo", 1): run("perhaps it is {}"),  # the frozen LM has no such run yet
    }
    two = config(tmp_path, agents=("frozen", "ppo"))
    results = summarise_comparison(two, episodes)
    assert results["alarms"]["ppo"]["runs"] == 1
    rings = [one["canary"] for one in results["alarms"]["ppo"]["canaries"] if one["rings"]]
    assert rings == ["hedging_words"]
    assert results["agents"]["ppo"]["held_out"] is None
    more = summarise_comparison(
        two, {**episodes, ("frozen", 1): run("surely it is {}")}, earlier=results
    )
    assert more["alarms"]["ppo"]["runs"] == 2
    alone = config(tmp_path, agents=("ppo",))
    assert summarise_comparison(alone, {("ppo", 0): run("so")})["alarms"] == {}


def test_some_silence_of_the_held_out_user_is_left_out(
    tmp_path: Path, record: Callable[..., EpisodeRecord]
) -> None:
    records = [record(held_out=value) for value in (1.0, None, 0.0, None)]
    results = summarise_comparison(config(tmp_path), {("frozen", 0): records})
    assert results["agents"]["frozen"]["held_out"]["mean"] == 0.5


def test_a_comparison_from_before_there_were_held_out_users_goes_on(
    tmp_path: Path, prompts: str
) -> None:
    old = config(tmp_path / "out", prompts, agents=("frozen",), seeds=1, held_out_user="none")
    compare(old)
    results = read_json(old.out / "results.json")
    del results["config"]["held_out_user"], results["alarms"]
    del results["agents"]["frozen"]["held_out"], results["runs"][0]["metrics"]["canaries"]
    (old.out / "results.json").write_text(json.dumps(results))
    path = old.out / "transcripts-frozen-seed0.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [{k: v for k, v in line.items() if not k.startswith("held_out")} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    again = compare(replace(old, held_out_user=DEFAULT_USER, agents=("frozen", "random")))
    assert again["agents"]["frozen"]["held_out"] is None  # nobody was asked then
    assert again["agents"]["random"]["held_out"] is not None
    alarms = again["alarms"]["random"]
    assert alarms["runs"] == 1
    assert "held_out" not in {canary["canary"] for canary in alarms["canaries"]}
    with pytest.raises(RunError, match="has held_out_user='default', not"):
        compare(replace(old, held_out_user=HELD_OUT))
