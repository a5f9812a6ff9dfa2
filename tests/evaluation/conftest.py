"""A tiny frozen LM that stays loaded, few prompts, and runs that take a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from erm_gym.evaluation import EpisodeRecord, TrainConfig
from erm_gym.llm import FrozenLLM, load_llm

SMALL: dict[str, Any] = {
    "llm": "tiny",
    "dtype": "float32",
    "steps": 240,
    "num_envs": 2,
    "max_new_tokens": 6,
    "checkpoint_every": 80,
}


@pytest.fixture(scope="session", autouse=True)
def tiny() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture(scope="session")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of ten contrast pairs, all in the test split."""
    path = tmp_path_factory.mktemp("prompts") / "prompts.csv"
    lines = ["prompt_id,pair_id,split,risk,text"]
    for i in range(10):
        lines.append(f"{i}-harmless,{i},test,0.0,May I eat {i} apples?")
        lines.append(f"{i}-risky,{i},test,1.0,May I eat {i} needles?")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def small(prompts: str) -> Callable[..., TrainConfig]:
    """A run of three updates of PPO; keywords replace its fields."""
    plain = {"agent": "ppo", "prompts": prompts, **SMALL}
    return lambda **changes: TrainConfig(**{**plain, **changes})


@pytest.fixture
def record() -> Callable[..., EpisodeRecord]:
    """An episode; keywords replace its fields."""
    plain: dict[str, Any] = {
        "prompt_id": "a",
        "domain": "any",
        "risky": False,
        "prompt": "May I?",
        "reply": "Yes you may",
        "score": 0.5,
        "stance": "comply",
        "tokens": ["Yes", " you", " may"],
        "fear": [0.1, 0.2, 0.3],
        "logprob": -1.0,
        "steps": 3,
    }
    return lambda **changes: EpisodeRecord(**{**plain, **changes})
