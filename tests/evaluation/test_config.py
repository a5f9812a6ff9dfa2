from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from erm_gym.agents import AgentError
from erm_gym.envs.text import CandidateOptions, OptionError
from erm_gym.evaluation import CompareConfig, RunError, TrainConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"checkpoint_every": -1}, "checkpoint_every must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"bias_weight": -0.5}, "bias_weight must be at least 0"),
        ({"bias_weight": float("nan")}, "bias_weight must be at least 0"),
        ({"agent": "emotional-ppo", "critic": "none"}, "critic must not be 'none'"),
        ({"bias_weight": 1.0, "critic": "none"}, "critic must not be 'none'"),
    ],
)
def test_a_run_names_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        TrainConfig(**{"agent": "ppo", **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agents": ()}, "agents must name at least one"),
        ({"agents": ("ppo", "ppo")}, "each once"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"split": "tset"}, "split must be one of"),
        ({"split": "tset:law"}, "split must be one of"),
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"evaluation_seed": -1}, "evaluation_seed must be at least 0"),
        ({"agents": ("frozen", "feared-dqn"), "critic": "none"}, "for 'feared-dqn'"),
    ],
)
def test_a_comparison_names_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        CompareConfig(**changes)


def test_a_misspelt_agent_gets_a_suggestion() -> None:
    with pytest.raises(AgentError, match="did you mean 'emotional-ppo'"):
        TrainConfig(agent="emotinal-ppo")
    with pytest.raises(AgentError, match="did you mean 'ppo'"):
        CompareConfig(agents=("frozen", "pppo"))


def test_options_of_the_environment_are_checked_early() -> None:
    with pytest.raises(OptionError, match="k must be a whole number, at least 2, got 1"):
        TrainConfig(agent="ppo", k=1)


def test_environment_options() -> None:
    options = TrainConfig(agent="ppo", critic="none", k=5, dtype="float16").env_options()
    parsed = CandidateOptions.from_keywords(**options)
    assert (parsed.critic, parsed.k, parsed.dtype) == (None, 5, "float16")
    assert TrainConfig(agent="ppo").env_options()["critic"] == "default"


def test_the_runs_of_a_comparison_have_its_options() -> None:
    config = CompareConfig(steps=7, llm="tiny", prior_weight=0.5).train_config("dqn", 3)
    assert config == TrainConfig(agent="dqn", seed=3, steps=7, llm="tiny", prior_weight=0.5)


def test_the_command_to_go_on_names_what_is_not_default() -> None:
    config = TrainConfig(agent="ppo", llm="my model", num_envs=4, bias_weight=0.5)
    assert config.command(Path("runs/a b")) == (
        "erm-gym train ppo --out 'runs/a b' --resume --llm 'my model' --num-envs 4 "
        "--bias-weight 0.5"
    )
    assert TrainConfig(agent="ppo", online_critic=True).command(Path("run")) == (
        "erm-gym train ppo --out run --resume --online-critic"
    )
    assert TrainConfig(**asdict(config)) == config


def test_configurations_are_read_without_torch() -> None:
    code = (
        "import sys; from erm_gym.evaluation import CompareConfig, RunError, TrainConfig; "
        "assert not {'torch', 'stable_baselines3', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    from erm_gym import evaluation

    for name in evaluation.__all__:
        assert callable(getattr(evaluation, name)), name
    with pytest.raises(AttributeError, match="'evaluat'"):
        _ = evaluation.evaluat


def test_domains_are_named_with_the_splits() -> None:
    config = CompareConfig(split="test:held-out", train_split="train:-held-out")
    run = config.train_config("ppo", 0)
    assert run.env_options()["split"] == "train:-held-out"
    assert "--train-split train:-held-out" in run.command(Path("x"))
    assert TrainConfig(agent="ppo").env_options()["split"] is None


@pytest.mark.parametrize(
    ("user", "llm", "expected"),
    [
        ("risk-averse", "smollm2-135m", "preference"),
        ("risk-averse", "tiny", "sentiment"),
        ("0.5*preference + 0.5*my:user", "smollm2-135m", "sentiment"),
        ("sentiment | noise(0.1)", "tiny", "toxicity"),
        ("0.5*sentiment + 0.5*toxicity", "tiny", None),
    ],
)
def test_a_held_out_user_is_chosen(user: str, llm: str, expected: str | None) -> None:
    assert TrainConfig(agent="ppo", user=user, llm=llm).held_out == expected


def test_a_held_out_user_is_another_one() -> None:
    config = TrainConfig(agent="ppo", held_out_user="my:user")
    assert config.held_out == "my:user"
    assert TrainConfig(agent="ppo", held_out_user="none").held_out is None
    assert config.command(Path("run")) == (
        "erm-gym train ppo --out run --resume --held-out-user my:user"
    )
    assert "held_out_user" not in config.env_options()
    with pytest.raises(RunError, match="held_out_user must be another user"):
        TrainConfig(agent="ppo", held_out_user="risk-averse")
    assert CompareConfig(held_out_user="my:user").train_config("ppo", 0).held_out == "my:user"
