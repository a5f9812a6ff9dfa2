"""Every text environment with several sets of options, and what it takes to play them all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import VectorEnv

from erm_gym.emotion import EmotionalCritic, ERMConfig
from erm_gym.envs.registration import ENTRY_POINTS
from erm_gym.feedback import Episode
from erm_gym.llm import FrozenLLM
from erm_gym.llm.reading import read_layers

PROMPTS = ["Hi", "Please help me", "A longer question than those"]
CANDIDATES = "ErmGym/CandidateGeneration-v0"
CONVERSATION = "ErmGym/Conversation-v0"
CONTROL = "ErmGym/EmotionControl-v0"
TOKENS = "ErmGym/TokenGeneration-v0"


def content(prompt: str, reply: str) -> float:
    """A user who is always fairly content."""
    return 0.5


def cruel(prompt: str, reply: str) -> float:
    """A user who causes tonic fear."""
    return -0.9


def picky(prompt: str, reply: str) -> float:
    """A user whose score depends on the reply, now and then painful."""
    return sum(map(ord, reply)) % 21 / 10 - 1.0


OPTION_SETS: dict[str, dict[str, dict[str, Any]]] = {
    CANDIDATES: {
        "default": {},
        "nucleus": {"k": 6, "top_p": 0.5, "critic": None, "prompt_order": "sequential"}
        | {"prompts": ["Hi"]},
        "kept-fear": {"k": 259, "keep_tonic_fear": True, "user": cruel, "max_new_tokens": 1}
        | {"prior_temperature": 2.0, "prior_weight": 0.3},
    },
    TOKENS: {
        "default": {},
        "no-critic": {"critic": None, "prior_weight": 0.2, "user": picky},
    },
    CONTROL: {
        "default": {},
        "one-token": {"tokens_per_action": 1, "pool_size": 259, "prior_weight": 0.1}
        | {"keep_tonic_fear": True, "user": cruel},
    },
    CONVERSATION: {
        "nucleus": {"k": 6, "top_p": 0.5, "critic": None, "max_turns": 2, "user": picky},
        "tokens": {"actions": "tokens", "max_turns": 2, "prior_weight": 0.1}
        | {"keep_tonic_fear": True, "user": cruel},
        "control": {"actions": "control", "max_turns": 2, "tokens_per_action": 2, "user": picky},
    },
}
"""What is checked of every registered id: sets of options by name."""

GAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "candidates": (CANDIDATES, {"k": 6, "top_p": 0.9}),
    "tokens": (TOKENS, {}),
    "control": (CONTROL, {"tokens_per_action": 2, "pool_size": 32}),
    "talk-candidates": (CONVERSATION, {"k": 6, "top_p": 0.9, "max_turns": 3}),
    "talk-tokens": (CONVERSATION, {"actions": "tokens", "max_turns": 3}),
    "talk-control": (
        CONVERSATION,
        {"actions": "control", "max_turns": 3, "tokens_per_action": 2, "pool_size": 32},
    ),
}
"""One environment for every way of writing."""

Make = Callable[..., Any]


@pytest.fixture(scope="session")
def terse_llm(llm: FrozenLLM) -> FrozenLLM:
    """The tiny model, where every fifth token ends the turn: rows end at different times."""
    terse = copy.copy(llm)
    terse.end_of_turn = frozenset(range(2, llm.vocab_size, 5))
    return terse


@pytest.fixture(scope="session")
def feeling_critic(llm: FrozenLLM) -> EmotionalCritic:
    """A critic whose emotions depend on what it reads, and whose bias depends on them.

    Its ERM reads other layers than its FearModule, and makes more of one than of the other.
    """
    critic = EmotionalCritic.for_llm(llm, erm=ERMConfig(layers=(1, 3)))
    generator = torch.Generator().manual_seed(0)
    # Danger is neither 0 nor 1 in most states, nor less than the untrained pain net's 0.02.
    for head, std in ((critic.erm.heads, 0.5), (critic.fear_module.danger_net[-1], 0.05)):
        assert isinstance(head, torch.nn.Linear)
        torch.nn.init.normal_(head.weight, std=std, generator=generator)
    torch.nn.init.normal_(critic.modulator.W, std=2.0, generator=generator)
    for name, weights in critic.erm.named_parameters():
        if name.endswith(".mix"):
            torch.nn.init.normal_(weights, generator=generator)
    return critic


@pytest.fixture
def make_game(terse_llm: FrozenLLM, feeling_critic: EmotionalCritic) -> Make:
    """Makes one of `GAMES`."""

    def make(game: str, num_envs: int = 2, **options: Any) -> VectorEnv:
        env_id, own = GAMES[game]
        defaults = {
            **{"llm": terse_llm, "critic": feeling_critic, "user": picky, "prompts": PROMPTS},
            **{"max_new_tokens": 4, "prior_weight": 0.1},
        }
        creator: Any = load_env_creator(f"{ENTRY_POINTS[env_id]}_vec")
        envs: VectorEnv = creator(num_envs, **{**defaults, **own, **options})
        return envs

    return make


def states_of(llm: FrozenLLM, critic: EmotionalCritic, tokens: Sequence[int]) -> torch.Tensor:
    """What a critic is to read of a text, `[1, T, L, d]`; of the template it reads nothing."""
    return read_layers(llm, [tokens], critic.config.layers, shared=llm.template)[0][None]


def act(envs: VectorEnv, observations: dict[str, np.ndarray], keys: list[Any]) -> np.ndarray:
    """An allowed action per row, which follows from a key and the row's own observation alone."""
    space = envs.single_action_space
    actions: list[Any] = []
    for row, key in enumerate(keys):
        rng = np.random.default_rng(key)
        if isinstance(space, spaces.Box):
            actions.append(rng.uniform(-1.0, 1.0, space.shape).astype(np.float32))
        elif "action_mask" in observations:
            actions.append(rng.choice(np.flatnonzero(observations["action_mask"][row])))
        else:
            actions.append(rng.integers(space.n))  # type: ignore[attr-defined]
    return np.array(actions)


def episodes_of(infos: dict[str, Any], num_envs: int) -> list[Episode | None]:
    """What every row has just finished writing, if anything."""
    found: list[Episode | None] = [None] * num_envs
    for one in (infos, infos.get("final_info", {})):
        for row in np.flatnonzero(one.get("_judged_episode", [])).tolist():
            found[row] = one["judged_episode"][row]
    return found


def lives(envs: VectorEnv, seeds: list[int], steps: int) -> list[list[Any]]:
    """What every row wrote in so many steps: prompt, turn, tokens and score of each reply."""
    observations, _ = envs.reset(seed=seeds)  # type: ignore[arg-type]
    written: list[list[Any]] = [[] for _ in seeds]
    for step in range(steps):
        actions = act(envs, observations, [[seed, step] for seed in seeds])
        observations, rewards, *_, infos = envs.step(actions)
        for row, episode in enumerate(episodes_of(infos, len(seeds))):
            if episode is not None:
                said = (episode.prompt.text, episode.said, len(episode.turns))
                written[row].append((said, episode.tokens.tolist(), round(rewards[row], 3)))
    return written


def equal_steps(one: tuple[Any, ...], other: tuple[Any, ...], atol: float = 0.0) -> None:
    """Two results of `step` are the same, what was written included."""
    assert one[0].keys() == other[0].keys()
    for key, value in one[0].items():
        np.testing.assert_allclose(value, other[0][key], rtol=0.0, atol=atol, err_msg=key)
    np.testing.assert_allclose(one[1], other[1], rtol=0.0, atol=atol)
    np.testing.assert_array_equal(one[2:4], other[2:4])
    rows = len(one[1])
    for mine, theirs in zip(episodes_of(one[4], rows), episodes_of(other[4], rows), strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert mine.tokens.tolist() == theirs.tokens.tolist()
            assert (mine.prompt, mine.said, mine.seed) == (theirs.prompt, theirs.said, theirs.seed)
