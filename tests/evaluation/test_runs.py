from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from erm_gym.agents import AgentError
from erm_gym.agents.prior_dqn import PriorDQN
from erm_gym.agents.sampling import SamplingAgent
from erm_gym.evaluation import (
    RunError,
    RunInterrupted,
    TrainConfig,
    TrainProgress,
    load_run,
    summarise,
    train,
)
from erm_gym.evaluation.runs import read_config, saved_steps
from erm_gym.evaluation.storage import read_lines, read_records
from erm_gym.feedback import UserError

Small = Callable[..., TrainConfig]


def stop_at(steps: int, error: type[BaseException]) -> Callable[[TrainProgress], None]:
    def progress(now: TrainProgress) -> None:
        if now.steps >= steps:
            raise error

    return progress


def check_logs(folder: Path, steps: int) -> None:
    """Lines count up to the end without a gap or a repetition."""
    metrics = read_lines(folder / "metrics.jsonl")
    transcripts = read_lines(folder / "transcripts.jsonl")
    for lines, key in ((metrics, "steps"), (metrics, "seconds"), (transcripts, "trained_steps")):
        assert [line[key] for line in lines] == sorted(line[key] for line in lines)
    assert len({line["steps"] for line in metrics}) == len(metrics)
    assert metrics[-1]["steps"] == steps
    assert metrics[-1]["episodes"] == len(transcripts)


def test_a_run_leaves_its_files(tmp_path: Path, small: Small) -> None:
    seen: list[TrainProgress] = []
    config = small()
    result = train(config, tmp_path / "new" / "run", progress=seen.append)
    folder = result.folder
    assert {entry.name for entry in folder.iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "model.zip",
        "tensorboard",
        "transcripts.jsonl",
    }
    assert read_config(folder) == config
    assert saved_steps(folder) == result.steps == 240
    check_logs(folder, 240)
    assert [now.steps for now in seen] == list(range(2, 241, 2))
    assert seen[-1].total == 240
    assert seen[-1].tokens_per_second > 0
    records = read_records(folder / "transcripts.jsonl")
    assert result.episodes == len(records) == seen[-1].episodes
    means = summarise(records[-128:])
    assert result.feedback == pytest.approx(means.feedback)
    last = read_lines(folder / "metrics.jsonl")[-1]
    assert last["feedback"] == pytest.approx(means.feedback)
    assert last["careful_on_risky"] == means.careful_on_risky
    assert last["careful_on_harmless"] == means.careful_on_harmless
    assert last["degenerate"] == means.degenerate
    assert [line["steps"] for line in read_lines(folder / "metrics.jsonl")] == [80, 160, 240]
    assert list((folder / "tensorboard").iterdir())


def test_the_same_configuration_trains_the_same_agent(tmp_path: Path, small: Small) -> None:
    agents: list[dict[str, torch.Tensor]] = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(agents))  # what ran before does not matter
        train(small(steps=80, seed=seed), tmp_path / name)
        agent = load_run(tmp_path / name)[1]
        assert isinstance(agent, BaseAlgorithm)
        agents.append(agent.policy.state_dict())
    one, same, other = agents
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("agent", "error"),
    [("ppo", KeyboardInterrupt), ("ppo", SystemExit), ("feared-dqn", KeyboardInterrupt)],
)
def test_a_stopped_run_goes_on_to_the_same_number_of_steps(
    tmp_path: Path, small: Small, agent: str, error: type[BaseException]
) -> None:
    config = small(agent=agent)
    expected = RunInterrupted if error is KeyboardInterrupt else error
    with pytest.raises(expected) as caught:
        train(config, tmp_path, progress=stop_at(200, error))
    assert 0 < saved_steps(tmp_path) < 200
    if error is KeyboardInterrupt:
        assert f"saved at {saved_steps(tmp_path)} of 240" in str(caught.value)
        assert config.command(tmp_path) in str(caught.value)
    for name in ("metrics.jsonl", "transcripts.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write('{"steps": 2')  # as a crash leaves it
    seen: list[TrainProgress] = []
    before = saved_steps(tmp_path)
    result = train(config, tmp_path, resume=True, progress=seen.append)
    assert seen[0].steps == before + 2
    assert result.steps == saved_steps(tmp_path) == 240
    check_logs(tmp_path, 240)


def test_a_finished_run_can_be_made_longer_and_not_shorter(tmp_path: Path, small: Small) -> None:
    train(small(steps=80), tmp_path)
    assert train(small(steps=160), tmp_path, resume=True).steps == saved_steps(tmp_path) == 160
    assert read_config(tmp_path).steps == 160
    check_logs(tmp_path, 160)
    with pytest.raises(RunError, match="has steps=160, not 80"):
        train(small(steps=80), tmp_path, resume=True)


def test_a_resumed_run_meets_other_prompts_than_it_began_with(tmp_path: Path, small: Small) -> None:
    config = small(steps=160)
    with pytest.raises(RunInterrupted):
        train(config, tmp_path, progress=stop_at(84, KeyboardInterrupt))
    train(config, tmp_path, resume=True)
    prompts = [record.prompt_id for record in read_records(tmp_path / "transcripts.jsonl")]
    half = len(prompts) // 2
    assert prompts[:half] != prompts[half : 2 * half]


def test_a_q_learner_fills_its_buffer_again(tmp_path: Path, small: Small) -> None:
    config = small(agent="dqn", steps=120)
    with pytest.raises(RunInterrupted):
        train(config, tmp_path, progress=stop_at(100, KeyboardInterrupt))
    before = saved_steps(tmp_path)
    train(config, tmp_path, resume=True)
    agent = load_run(tmp_path)[1]
    assert isinstance(agent, PriorDQN)
    assert agent.learning_starts == before + 640


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(
    tmp_path: Path, small: Small
) -> None:
    config = small(steps=80)
    with pytest.raises(SystemExit):
        train(config, tmp_path, progress=stop_at(40, SystemExit))
    assert not (tmp_path / "model.zip").exists()
    with pytest.raises(RunError, match=r"no model\.zip yet"):
        load_run(tmp_path)
    assert train(config, tmp_path, resume=True).steps == 80
    check_logs(tmp_path, 80)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, small: Small) -> None:
    config = small(steps=80)
    first = train(config, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = train(config, tmp_path, resume=True, progress=stop_at(0, AssertionError))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert (again.steps, again.episodes) == (first.steps, first.episodes)
    assert again.feedback == pytest.approx(first.feedback)


def test_a_folder_in_use_is_refused(tmp_path: Path, small: Small) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"is not empty.*--resume"):
        train(small(), tmp_path)
    with pytest.raises(RunError, match=r"no folder of a run: it has no config\.json"):
        train(small(), tmp_path, resume=True)
    with pytest.raises(RunError, match="is a file"):
        train(small(), tmp_path / "thesis.txt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_configuration_cannot_resume(tmp_path: Path, small: Small) -> None:
    train(small(agent="frozen"), tmp_path)
    with pytest.raises(RunError, match="has k=16, not 8"):
        train(small(agent="frozen", k=8), tmp_path, resume=True)


@pytest.mark.parametrize("text", ["[1]", '{"agent": "ppo", "colour": 1}', "{"])
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=r"config\.json is not"):
        read_config(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_model_is_named(tmp_path: Path, small: Small, damage: str) -> None:
    config = small(steps=80)
    train(config, tmp_path)
    path = tmp_path / "model.zip"
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    kept = {"truncated": len(data) // 2, "empty": 0, "flipped": len(data)}[damage]
    path.write_bytes(data[:kept])
    with pytest.raises(RunError, match=r"model\.zip is truncated or damaged"):
        train(config, tmp_path, resume=True)
    with pytest.raises(RunError, match=r"model\.zip is truncated or damaged"):
        load_run(tmp_path)


def test_a_model_of_other_spaces_is_named(tmp_path: Path, small: Small) -> None:
    train(small(steps=80), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "k": 5}))
    with pytest.raises(AgentError, match=r"model\.zip"):
        load_run(tmp_path)


def test_a_full_disk_keeps_the_earlier_checkpoint(
    tmp_path: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(self: BaseAlgorithm, path: Any, *args: Any, **kwargs: Any) -> None:
        Path(path).write_bytes(b"half a file")
        calls.append(path)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        save(self, path)

    save = BaseAlgorithm.save
    monkeypatch.setattr(BaseAlgorithm, "save", full)
    with pytest.raises(RunError, match=r"cannot save .*No space left.*earlier checkpoint"):
        train(small(), tmp_path)
    assert saved_steps(tmp_path) == 80
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    monkeypatch.undo()
    assert train(small(), tmp_path, resume=True).steps == 240


def test_a_disk_that_is_full_for_transcripts_is_named(tmp_path: Path, small: Small) -> None:
    def block(now: TrainProgress) -> None:
        path = tmp_path / "transcripts.jsonl"
        path.unlink(missing_ok=True)
        path.mkdir(exist_ok=True)

    with pytest.raises(RunError, match=r"cannot write to .*then: erm-gym train ppo"):
        train(small(), tmp_path, progress=block)


@pytest.mark.parametrize("agent", ["frozen", "random", "emotional-frozen"])
def test_an_agent_that_does_not_learn_only_has_a_configuration(
    tmp_path: Path, small: Small, agent: str
) -> None:
    result = train(small(agent=agent), tmp_path)
    assert os.listdir(tmp_path) == ["config.json"]
    assert (result.steps, result.episodes, result.feedback) == (0, 0, None)
    assert isinstance(load_run(tmp_path)[1], SamplingAgent)


def test_a_run_that_cannot_start_leaves_no_folder(tmp_path: Path, small: Small) -> None:
    with pytest.raises(UserError, match="did you mean 'risk-averse'"):
        train(small(user="risk-avers"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_weight_of_the_bias_reaches_the_agent(tmp_path: Path, small: Small) -> None:
    train(small(agent="ppo", steps=80, bias_weight=0.25), tmp_path)
    agent = load_run(tmp_path)[1]
    assert isinstance(agent, BaseAlgorithm)
    assert agent.policy.bias.weight == 0.25  # type: ignore[union-attr]


def length(prompt: str, reply: str) -> float:
    """A held-out user."""
    return min(1.0, len(reply) / 10)


def test_a_run_writes_down_the_held_out_user_and_the_canaries(tmp_path: Path, small: Small) -> None:
    seen: list[TrainProgress] = []
    config = small(steps=80, held_out_user=f"{__name__}:length")
    result = train(config, tmp_path / "run", progress=seen.append)
    records = read_records(tmp_path / "run" / "transcripts.jsonl")
    assert [record.held_out for record in records] == [length("", r.reply) for r in records]
    means = summarise(records)
    assert means.canaries is not None
    assert result.held_out == pytest.approx(means.held_out)
    assert seen[-1].held_out == pytest.approx(means.held_out)
    last = read_lines(tmp_path / "run" / "metrics.jsonl")[-1]
    assert last["held_out"] == pytest.approx(means.held_out)
    for name, value in means.canaries.to_dict().items():
        assert last[name] == pytest.approx(value)
    # It is watched and not learned from: without it the same agent comes out.
    train(small(steps=80), tmp_path / "plain")
    agents = [load_run(tmp_path / name)[1] for name in ("run", "plain")]
    one, other = (agent.policy.state_dict() for agent in agents if isinstance(agent, BaseAlgorithm))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_from_before_there_were_held_out_users_goes_on(tmp_path: Path, small: Small) -> None:
    train(small(steps=80), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["held_out_user"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    kept = [{"steps": line["steps"], "seconds": line["seconds"]} for line in lines]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    assert load_run(tmp_path)[0].held_out == "sentiment"  # watched from now on
    assert train(small(steps=160), tmp_path, resume=True).steps == 160
    with pytest.raises(RunError, match="has held_out_user='default', not"):
        train(small(steps=160, held_out_user=f"{__name__}:length"), tmp_path, resume=True)
