"""Runs with users elsewhere that are slow, down, or answer nonsense: none stops or is corrupted."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from erm_gym.cli import main
from erm_gym.cli.evaluate import make_untrained
from erm_gym.evaluation import CompareConfig, TrainConfig, compare, evaluate, load_run, train
from erm_gym.evaluation.runs import saved_steps
from erm_gym.evaluation.storage import read_json, read_lines, read_records
from erm_gym.feedback import Episode, Feedback, UserError

Small = Callable[..., TrainConfig]
Scripted = Callable[[Callable[[int, Any], Any]], Any]
pytestmark = pytest.mark.filterwarnings("ignore:.*has no feedback on:UserWarning")


def remote(url: str, **options: Any) -> str:
    """A remote user as a run's configuration names it."""
    given = {"url": json.dumps(url), "timeout": 5.0, "retries": 1, "backoff": 0.01, **options}
    text = ", ".join(f"{name}={value}" for name, value in given.items())
    return f"erm_gym.feedback.users.remote:RemoteUser({text})"


def by_seed(body: Any) -> dict[str, Any]:
    feedbacks = [{"score": episode["seed"] % 100 / 100} for episode in body["episodes"]]
    return {"version": 1, "feedbacks": feedbacks}


def seeds_of(server: Any) -> list[int]:
    return [episode["seed"] for one in server.asked for episode in one.body["episodes"]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    agent = load_run(folder)[1]
    assert isinstance(agent, BaseAlgorithm)
    return agent.policy.state_dict()


def check_run(folder: Path, steps: int) -> dict[str, int]:
    """A run that came to its end, whole; its counts."""
    assert saved_steps(folder) == steps
    assert all(torch.isfinite(tensor).all() for tensor in weights(folder).values())
    metrics = read_lines(folder / "metrics.jsonl")
    assert metrics[-1]["steps"] == steps
    for before, after in pairwise(metrics):
        for name, count in before["user_counts"].items():
            assert after["user_counts"][name] >= count
    counts: dict[str, int] = metrics[-1]["user_counts"]
    records = read_records(folder / "transcripts.jsonl")
    assert counts["skipped"] == sum(not record.given for record in records)
    assert all(record.score == 0.0 for record in records if not record.given)
    return counts


def test_a_run_is_the_same_as_with_the_user_here(
    tmp_path: Path, small: Small, scripted: Scripted, answer: Any
) -> None:
    server = scripted(lambda number, body: answer(body=by_seed(body)))
    here = "tests.evaluation.test_network_users:seeded"
    train(small(user=here, steps=160), tmp_path / "here")
    result = train(small(user=remote(server.url), steps=160), tmp_path / "there")
    one, other = (weights(tmp_path / name) for name in ("here", "there"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    counts = check_run(tmp_path / "there", 160)
    assert counts == result.user_counts
    assert counts["requests"] == len(server.asked)
    assert not any(count for name, count in counts.items() if name != "requests")
    assert "user_counts" not in read_lines(tmp_path / "here" / "metrics.jsonl")[-1]


def seeded(episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
    """The same as `by_seed`."""
    return [Feedback(score=episode.seed % 100 / 100) for episode in episodes]


@pytest.mark.parametrize("agent", ["ppo", "feared-dqn"])
def test_a_user_that_does_all_wrong_does_not_stop_a_run(
    tmp_path: Path, small: Small, scripted: Scripted, answer: Any, agent: str
) -> None:
    """Everything that can go wrong, in turn, and now and then an answer."""

    def script(number: int, body: Any) -> Any:
        good = by_seed(body)
        wrong = {"version": 1, "feedbacks": [{"score": 7}] * len(body["episodes"])}
        nan = b'{"version": 1, "feedbacks": [{"score": NaN}]}'
        return [
            answer(body=good),
            answer(body=b"<html>"),
            answer(body=wrong),
            answer(body=good),
            answer(status=500),
            answer(body=nan),
            answer(hang_up=True),
            answer(body={"version": 1, "feedbacks": []}),
            answer(delay=0.9),
            answer(status=404),
        ][number % 10]

    server = scripted(script)
    config = small(agent=agent, user=remote(server.url, timeout=0.6), critic="default")
    result = train(config, tmp_path)
    assert result.steps == 240
    counts = check_run(tmp_path, 240)
    for name in ("retries", "timeouts", "unreachable", "http_errors", "nonsense", "skipped"):
        assert counts[name] > 0, name
    assert counts["requests"] == len(server.asked)
    given = [one for one in read_records(tmp_path / "transcripts.jsonl") if one.given]
    assert {one.score for one in given} <= {seed % 100 / 100 for seed in seeds_of(server)}
    assert len(given) > 3


def test_a_user_that_is_down_does_not_stop_a_run(tmp_path: Path, small: Small) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    result = train(small(user=remote(url)), tmp_path)
    counts = check_run(tmp_path, 240)
    assert counts["skipped"] == result.episodes > 30
    assert counts["requests"] == counts["unreachable"] == 6  # three times two, and then a pause
    assert result.feedback in (None, 0.0)


@pytest.mark.parametrize("last_answer", [2, 12])
def test_with_stop_the_run_is_saved_and_goes_on(
    tmp_path: Path, small: Small, scripted: Scripted, answer: Any, last_answer: int
) -> None:
    """Whether it stops in the first rollout or later, each request is counted."""
    down = True
    server = scripted(
        lambda number, body: (
            answer(status=503, body={"error": "closed for lunch"})
            if down and number >= last_answer
            else answer(body=by_seed(body))
        )
    )
    config = small(user=remote(server.url, fallback="stop"))
    with pytest.raises(UserError) as caught:
        train(config, tmp_path)
    saved = saved_steps(tmp_path)
    assert 0 <= saved < 240
    assert (saved == 0) == (last_answer == 2)
    message = str(caught.value)
    assert "status 503 (closed for lunch)" in message
    assert f"saved at {saved} of 240 tokens; go on with: {config.command(tmp_path)}" in message
    down = False
    result = train(config, tmp_path, resume=True)
    assert result.steps == 240
    counts = check_run(tmp_path, 240)
    assert counts["requests"] == len(server.asked)
    assert (counts["http_errors"], counts["retries"], counts["skipped"]) == (2, 1, 0)
    assert result.user_counts == counts


def test_requests_after_the_last_checkpoint_are_counted(
    tmp_path: Path, small: Small, scripted: Scripted, answer: Any
) -> None:
    """Of a run that ends without a word, as with a crash, all but its last rollout is known."""
    server = scripted(lambda number, body: answer(body=by_seed(body)))
    config = small(user=remote(server.url), checkpoint_every=160)
    logged: list[int] = []

    def crash(now: Any) -> None:
        if (tmp_path / "metrics.jsonl").exists():
            logged.extend(
                line["user_counts"]["requests"] for line in read_lines(tmp_path / "metrics.jsonl")
            )
            raise MemoryError

    with pytest.raises(MemoryError):
        train(config, tmp_path, progress=crash)
    assert not (tmp_path / "model.zip").exists()
    before = len(server.asked)
    train(config, tmp_path, resume=True)
    assert check_run(tmp_path, 240)["requests"] == logged[0] + len(server.asked) - before > 0


def test_the_held_out_user_is_counted_apart(
    tmp_path: Path, small: Small, scripted: Scripted, answer: Any
) -> None:
    server = scripted(
        lambda number, body: answer(status=404) if number == 3 else answer(body=by_seed(body))
    )
    held_out = remote(server.url)
    result = train(small(held_out_user=held_out, steps=160), tmp_path / "run")
    assert result.user_counts["held_out/requests"] == len(server.asked) > 0
    assert result.user_counts["held_out/http_errors"] == 1
    assert all(name.startswith("held_out/") for name in result.user_counts)


def test_the_baseline_of_an_evaluation_is_counted_apart(
    tmp_path: Path, scripted: Scripted, answer: Any, prompts: str
) -> None:
    server = scripted(lambda number, body: answer(body=by_seed(body)))
    command = ["evaluate", "random", "--llm", "tiny", "--episodes", "2", "--prompts", prompts]
    command += ["--user", remote(server.url), "--json", str(tmp_path / "result.json")]
    assert main(command) == 0
    counts = read_json(tmp_path / "result.json")["user_counts"]
    assert 0 < counts["requests"] < len(server.asked)
    assert counts["requests"] + counts["baseline/requests"] == len(server.asked)


def test_the_command_ends_with_code_2_and_can_be_given_again(
    tmp_path: Path,
    prompts: str,
    scripted: Scripted,
    answer: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    down = True
    server = scripted(
        lambda number, body: (
            answer(status=404) if down and number >= 5 else answer(body=by_seed(body))
        )
    )
    command = ["train", "ppo", "--llm", "tiny", "--dtype", "float32", "--steps", "80"]
    command += ["--num-envs", "2", "--max-new-tokens", "4", "--prompts", prompts]
    command += ["--user", remote(server.url, fallback="stop"), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "status 404" in error
    assert "go on with: erm-gym train ppo --out" in error
    down = False
    assert main([*command, "--resume", "--json", str(tmp_path / "result.json")]) == 0
    assert "user: " in capsys.readouterr().out
    result = read_json(tmp_path / "result.json")
    assert result["steps"] == 80
    assert result["user_counts"]["requests"] > 0


@pytest.mark.parametrize("fail_at", [1, 30])
def test_a_run_is_saved_whatever_user_fails(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    """A plain function that raises at a certain call, which may be the first."""
    calls = []

    def fails(prompt: str, reply: str) -> float:
        calls.append(prompt)
        if len(calls) == fail_at:
            raise RuntimeError("the dog ate it")
        return 0.5

    monkeypatch.setattr("tests.evaluation.test_network_users.FAILING", fails)
    config = small(user="tests.evaluation.test_network_users:failing")
    with pytest.raises(UserError, match=r"the dog ate it.*stopped and saved at \d+ of 240"):
        train(config, tmp_path)
    saved = saved_steps(tmp_path)
    assert (saved == 0) == (fail_at == 1)
    result = train(config, tmp_path, resume=True)
    assert result.steps == saved_steps(tmp_path) == 240
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["steps"] for line in lines] == sorted({line["steps"] for line in lines})
    assert lines[-1]["episodes"] == len(read_lines(tmp_path / "transcripts.jsonl"))


FAILING: Callable[[str, str], float] = lambda prompt, reply: 0.0  # noqa: E731


def failing(prompt: str, reply: str) -> float:
    return FAILING(prompt, reply)


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_an_evaluation_counts_too(small: Small, scripted: Scripted, answer: Any, rows: int) -> None:
    """Each reply that is recorded is asked about, and no other: rows that are through wait."""
    server = scripted(
        lambda number, body: answer(status=404) if number == 1 else answer(body=by_seed(body))
    )
    held_out = scripted(lambda number, body: answer(body=by_seed(body)))
    config = small(agent="frozen", user=remote(server.url))
    counts: Counter[str] = Counter()
    records = evaluate(
        make_untrained(config),
        config.env_options(),
        num_envs=rows,
        held_out_user=remote(held_out.url),
        user_counts=counts,
    )
    assert counts["requests"] == len(server.asked) <= len(records) == 20
    assert counts["held_out/requests"] == len(held_out.asked) <= 20
    for one in (server, held_out):
        asked = [
            episode["prompt"]["text"] for body in one.asked for episode in body.body["episodes"]
        ]
        assert sorted(asked) == sorted(record.prompt for record in records)
    assert counts["skipped"] == [record.given for record in records].count(False) >= 1
    assert all(record.held_out is not None for record in records)


def test_a_comparison_has_the_counts_of_every_run(
    tmp_path: Path, scripted: Scripted, answer: Any, prompts: str
) -> None:
    broken = False
    server = scripted(
        lambda number, body: answer(status=404) if broken else answer(body=by_seed(body))
    )
    config = CompareConfig(
        agents=("frozen", "ppo"),
        seeds=1,
        out=tmp_path / "out",
        llm="tiny",
        dtype="float32",
        steps=80,
        num_envs=2,
        max_new_tokens=6,
        prompts=prompts,
        user=remote(server.url, fallback="stop"),
    )

    def break_it(now: Any) -> None:
        nonlocal broken
        broken = now.agent == "ppo" and now.phase == "evaluate" and now.done > 5

    with pytest.raises(UserError, match="1 of 2 runs finished; give the same command again"):
        compare(config, break_it)
    broken = False
    asked = len(server.asked)
    results = compare(config)
    frozen, ppo = (run["user_counts"] for run in results["runs"])
    assert frozen["training"] == {}
    assert frozen["evaluation"]["requests"] > 0
    assert ppo["evaluation"]["requests"] == len(server.asked) - asked
    assert ppo["training"]["requests"] > 0
    assert read_json(config.out / "results.json") == results
    assert compare(config) == results  # read from what is there
