"""What all text environments share: snapshots, and rows that survive a failed step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.llm import FrozenLLM

PROMPTS = ["Hi", "Please help me", "What is it that you want from me?", "Why?"]


def score_length(prompt: str, reply: str) -> float:
    return len(reply) % 7 / 7 - 0.9


def make(llm: FrozenLLM, num_envs: int = 3, **options: Any) -> VectorEnv:
    defaults = {"prompts": PROMPTS, "k": 6, "max_new_tokens": 4, "user": score_length}
    return candidate_generation_vec(num_envs, llm=llm, **{**defaults, **options})


@pytest.fixture
def critic(llm: FrozenLLM) -> EmotionalCritic:
    """One whose tonic fear lasts, so that there is something to restore."""
    critic = EmotionalCritic.for_llm(llm)
    last = critic.fear_module.danger_net[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=0.5)
    return critic


def play(envs: VectorEnv, actions: np.ndarray) -> list[dict[str, Any]]:
    """Everything that each of the actions `[T, B]` brings, as plain values."""
    events = []
    for step in actions:
        observations, rewards, terminated, truncated, infos = envs.step(step)
        final = [one for one in infos.get("final_obs", []) if one is not None and "fear" in one]
        events.append(
            {
                "observations": {key: value.tolist() for key, value in observations.items()},
                "rewards": rewards.tolist(),
                "ends": [terminated.tolist(), truncated.tolist()],
                "prompts": [prompt and prompt.text for prompt in infos.get("prompt", [])],
                "transcripts": list(infos.get("final_info", {}).get("transcript", [])),
                "final fear": [one["fear"].tolist() for one in final],
            }
        )
    return events


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_an_episode_branches(llm: FrozenLLM, critic: EmotionalCritic, mode: AutoresetMode) -> None:
    """The same actions from a snapshot give the same future, through refills; others do not."""
    rng = np.random.default_rng(0)
    envs = make(llm, critic=critic, autoreset_mode=mode)
    envs.reset(seed=3)
    play(envs, rng.integers(6, size=(5, 3)))
    snapshot = envs.snapshot()  # type: ignore[attr-defined]
    branch, other = rng.integers(6, size=(2, 13, 3))
    first = play(envs, branch)
    seen = envs.restore(snapshot)  # type: ignore[attr-defined]
    different = play(envs, other)
    assert different != first
    again = envs.restore(snapshot)  # type: ignore[attr-defined]
    assert all(np.array_equal(again[key], value) for key, value in seen.items())
    assert play(envs, branch) == first
    # It fits another environment with the same options, too, up to rounding.
    twin = make(llm, critic=critic, autoreset_mode=mode)
    twin.restore(snapshot)  # type: ignore[attr-defined]
    for one, other in zip(play(twin, branch), first, strict=True):
        assert sorted(one) == sorted(other)
        for key in ("rewards", "ends", "prompts", "transcripts"):
            assert one[key] == other[key]
        for key, value in one["observations"].items():
            np.testing.assert_allclose(value, other["observations"][key], atol=1e-3, rtol=1e-3)


def test_a_snapshot_does_not_change_with_what_happens_later(llm: FrozenLLM) -> None:
    envs = make(llm, critic=None)
    envs.reset(seed=0)
    snapshot = envs.snapshot()  # type: ignore[attr-defined]
    before = {key: value.copy() for key, value in snapshot.rows.arrays.items()}
    keys = snapshot.rows.slots.layers[0][0].clone()
    play(envs, np.ones((9, 3), np.int64))
    for key, value in before.items():
        np.testing.assert_array_equal(snapshot.rows.arrays[key], value)
    assert torch.equal(snapshot.rows.slots.layers[0][0], keys)


def test_nothing_can_be_kept_before_the_first_reset_or_after_close(llm: FrozenLLM) -> None:
    envs = make(llm, critic=None)
    with pytest.raises(RuntimeError, match="reset the environment before the first snapshot"):
        envs.snapshot()  # type: ignore[attr-defined]
    envs.reset(seed=0)
    snapshot = envs.snapshot()  # type: ignore[attr-defined]
    envs.close()
    with pytest.raises(RuntimeError, match="closed"):
        envs.restore(snapshot)  # type: ignore[attr-defined]


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_named_and_harm_no_row(
    llm: FrozenLLM, broken: float
) -> None:
    envs, twin = (make(llm, critic=None) for _ in range(2))
    for env in (envs, twin):
        env.reset(seed=0)
    forward = envs._rows._slots._forward  # type: ignore[attr-defined]

    def fail(step: Any) -> Any:
        output = forward(step)
        logits = output.logits.clone()
        logits[1, 5] = broken
        return output._replace(logits=logits)

    envs._rows._slots._forward = fail  # type: ignore[attr-defined]
    actions = np.zeros((6, 3), np.int64)
    with pytest.raises(FloatingPointError, match=r"logits of tiny are not finite in row 1"):
        envs.step(actions[0])
    envs._rows._slots._forward = forward  # type: ignore[attr-defined]
    assert play(envs, actions) == play(twin, actions)


def test_a_broken_step_leaves_nothing_broken_in_the_cache(llm: FrozenLLM) -> None:
    """NaN in keys and values passes every mask: what is rolled back has to be wiped out."""
    envs, twin = (make(llm, critic=None, max_new_tokens=6) for _ in range(2))
    for env in (envs, twin):
        env.reset(seed=0)
        env.step(np.zeros(3, np.int64))
    slots = envs.unwrapped._rows._slots  # type: ignore[attr-defined]
    forward = slots._forward

    def poison(step: Any) -> Any:
        output = forward(step)
        for keys, values in step.cache.layers.values():
            length = int(step.positions[1, 0])
            keys[1, :, length] = torch.nan
            values[1, :, length] = torch.nan
        return output._replace(logits=torch.full_like(output.logits, torch.nan))

    slots._forward = poison
    with pytest.raises(FloatingPointError):
        envs.step(np.zeros(3, np.int64))
    slots._forward = forward
    for env in (envs, twin):  # a shorter text beside longer ones, which look past its end
        env.reset(seed=[None, 5, None], options={"reset_mask": np.array([False, True, False])})  # type: ignore[arg-type]
    assert play(envs, np.ones((8, 3), np.int64)) == play(twin, np.ones((8, 3), np.int64))


def test_a_cache_that_could_not_grow_grows_later(llm: FrozenLLM) -> None:
    slots = llm.slots(2)
    slots.prefill([0, 1], [[3, 4], [5]])
    cache = slots._cache
    grown, capacity = cache._grown, cache.capacity
    calls = []

    def fail(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise MemoryError
        return grown(*arguments)

    cache._grown = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(MemoryError):
        slots.reserve(capacity + 1)
    cache._grown = grown  # type: ignore[method-assign]
    tokens = list(range(3, 3 + capacity))
    output = slots.extend([0], [tokens])
    expected, _ = llm.recompute([3, 4, *tokens])
    torch.testing.assert_close(output.logits[0], expected[-1], atol=1e-4, rtol=1e-4)


def test_a_token_without_any_probability_is_named(llm: FrozenLLM) -> None:
    """With a weight of 0, too, minus infinity would be no number in the reward."""
    envs = make(llm, critic=None, k=259)
    slots = envs.unwrapped._rows._slots  # type: ignore[attr-defined]
    forward = slots._forward

    def forbid(step: Any) -> Any:
        output = forward(step)
        logits = output.logits.clone()
        logits[:, 7] = -torch.inf
        return output._replace(logits=logits)

    slots._forward = forbid
    observations, _ = envs.reset(seed=0)
    rank = int(np.flatnonzero(observations["candidates"][0] == 7)[0])
    assert (
        observations["action_mask"][0, rank] == 0 and observations["action_mask"].sum() == 3 * 258
    )
    with pytest.raises(ValueError, match=f"action {rank} of row 0 is masked"):
        envs.step(np.array([rank, 0, 0]))
    assert np.isfinite(envs.step(np.zeros(3, np.int64))[1]).all()


def test_an_unknown_reset_option_and_a_picture_after_close_are_refused(llm: FrozenLLM) -> None:
    envs = make(llm, critic=None, render_mode="ansi")
    with pytest.raises(ValueError, match="unknown reset option 'reset_maks'"):
        envs.reset(options={"reset_maks": np.ones(3, bool)})
    envs.reset(seed=0)
    envs.close()
    with pytest.raises(RuntimeError, match="closed"):
        envs.render()
