"""Runs in which the critic learns beside the agent: what is kept, gone on with, and evaluated."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from erm_gym.emotion import EmotionalCritic, OnlineCriticTrainer
from erm_gym.evaluation import (
    CompareConfig,
    RunError,
    RunInterrupted,
    TrainConfig,
    TrainProgress,
    compare,
    comparison,
    evaluate,
    load_run,
    train,
)
from erm_gym.evaluation.runs import read_config
from erm_gym.llm import FrozenLLM

Small = Callable[..., TrainConfig]


def harsh(prompt: str, reply: str) -> float:
    """A user to whom everything is bad."""
    return -1.0


HARSH = f"{__name__}:harsh"


def weights(critic: EmotionalCritic) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in critic.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_keeps_what_its_critic_learned_and_is_evaluated_with_it(
    tmp_path: Path, tiny: FrozenLLM, small: Small
) -> None:
    config = small(agent="emotional-ppo", user=HARSH, online_critic=True)
    train(config, tmp_path / "run")
    assert read_config(tmp_path / "run") == config
    learned = EmotionalCritic.from_pretrained(tmp_path / "run" / "critic", llm=tiny)
    start = EmotionalCritic.for_llm(tiny)
    assert not equal(weights(learned), weights(start))
    loaded, agent = load_run(tmp_path / "run")
    assert not loaded.online_critic
    assert loaded.critic == str(tmp_path / "run" / "critic")
    before = weights(learned)
    options = {**loaded.env_options(), "critic": learned}
    records = evaluate(agent, options, split="all", num_envs=4, limit=4)
    plain = {**config.env_options(), "online_critic": False, "critic": start}
    untaught = evaluate(agent, plain, split="all", num_envs=4, limit=4)
    assert [record.fear for record in records] != [record.fear for record in untaught]
    told_to_learn = {**options, "online_critic": True}
    assert evaluate(agent, told_to_learn, split="all", num_envs=4, limit=4) == records
    assert equal(weights(learned), before)


def test_a_resumed_run_goes_on_with_its_critic(
    tmp_path: Path, tiny: FrozenLLM, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(now: TrainProgress) -> None:
        if now.steps >= 120:
            raise KeyboardInterrupt

    config = small(user=HARSH, online_critic=True)
    with pytest.raises(RunInterrupted) as caught:
        train(config, tmp_path, progress=stop)
    assert "--online-critic" in str(caught.value)
    kept = weights(EmotionalCritic.from_pretrained(tmp_path / "critic", llm=tiny))
    resumed: list[dict[str, torch.Tensor]] = []
    resume = OnlineCriticTrainer.resume

    def spy(trainer: OnlineCriticTrainer, learned: EmotionalCritic) -> None:
        resume(trainer, learned)
        resumed.append(weights(trainer.critic))

    heard: list[float] = []
    record = OnlineCriticTrainer.record

    def listen(
        trainer: OnlineCriticTrainer, turns: Sequence[torch.Tensor], feedback: float
    ) -> None:
        heard.append(feedback)
        record(trainer, turns, feedback)

    monkeypatch.setattr(OnlineCriticTrainer, "resume", spy)
    monkeypatch.setattr(OnlineCriticTrainer, "record", listen)
    assert train(config, tmp_path, resume=True).steps == 240
    assert len(resumed) == 1 and equal(resumed[0], kept)
    assert heard and set(heard) == {-1.0}  # and it goes on hearing what the user says


def test_a_run_whose_critic_is_gone_is_refused(tmp_path: Path, small: Small) -> None:
    config = small(steps=80, online_critic=True)
    train(config, tmp_path)
    shutil.rmtree(tmp_path / "critic")
    with pytest.raises(RunError, match="has no critic, though its critic learned"):
        load_run(tmp_path)


def test_without_it_there_is_no_critic_in_the_folder(tmp_path: Path, small: Small) -> None:
    train(small(steps=80), tmp_path)
    assert not (tmp_path / "critic").exists()
    assert load_run(tmp_path)[0] == small(steps=80)


def test_it_needs_a_critic(small: Small) -> None:
    with pytest.raises(ValueError, match="online_critic must be"):
        small(critic="none", online_critic=True)


def test_a_comparison_evaluates_every_agent_with_the_critic_of_its_run(
    tmp_path: Path, prompts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def spy(agent: Any, options: Any, **rest: Any) -> Any:
        asked.append(dict(options))
        return evaluate(agent, options, **rest)

    monkeypatch.setattr(comparison, "evaluate", spy)
    small: dict[str, Any] = {
        **{"llm": "tiny", "dtype": "float32", "steps": 40, "num_envs": 2, "max_new_tokens": 4},
        **{"prompts": prompts, "user": HARSH, "online_critic": True},
    }
    out = tmp_path / "out"
    compare(CompareConfig(agents=("frozen", "emotional-ppo"), seeds=1, out=out, **small))
    assert [options["critic"] for options in asked] == [
        "default",
        str(out / "runs" / "emotional-ppo-seed0" / "critic"),
    ]
