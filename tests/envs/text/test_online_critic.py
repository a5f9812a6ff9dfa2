"""A critic that learns from the user's feedback while the environment runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from erm_gym.agents import make_agent
from erm_gym.emotion import EmotionalCritic, EmotionalSignals
from erm_gym.envs.text import (
    CandidateOptions,
    OptionError,
    RecordingError,
    RecordTranscripts,
    TextVectorEnv,
)
from erm_gym.feedback import UserError
from erm_gym.llm import FrozenLLM
from tests.envs.text.conftest import (
    GAMES,
    Make,
    act,
    cruel,
    episodes_of,
    equal_steps,
    states_of,
)

Told = list[tuple[list[torch.Tensor], float]]


def indifferent(prompt: str, reply: str) -> float:
    """A user from whom there is nothing to learn."""
    return 0.0


@pytest.fixture(scope="session")
def calm_critic(feeling_critic: EmotionalCritic) -> EmotionalCritic:
    """A critic that feels much, and little fear."""
    critic = copy.deepcopy(feeling_critic)
    with torch.no_grad():
        critic.erm.heads.bias[0] -= 6.0
        critic.fear_module.danger_net.get_parameter("2.bias").sub_(3.0)
    return critic


@pytest.fixture
def make(make_game: Make, calm_critic: EmotionalCritic) -> Callable[..., TextVectorEnv[Any]]:
    """Makes one of `GAMES` whose critic learns."""

    def make(game: str = "candidates", num_envs: int = 2, **options: Any) -> TextVectorEnv[Any]:
        options = {"critic": calm_critic, "online_critic": True, **options}
        env = make_game(game, num_envs, **options).unwrapped
        assert isinstance(env, TextVectorEnv)
        return env

    return make


def play(env: TextVectorEnv[Any], steps: int, seed: int = 0) -> list[tuple[Any, ...]]:
    observations, _ = env.reset(seed=seed)
    results = []
    for step in range(steps):
        results.append(env.step(act(env, observations, [[row, step] for row in (0, 1)])))
        observations = results[-1][0]
    return results


def weights(critic: EmotionalCritic | None) -> dict[str, torch.Tensor]:
    assert critic is not None
    return {name: tensor.clone() for name, tensor in critic.state_dict().items()}


def changed(critic: EmotionalCritic | None, before: dict[str, torch.Tensor]) -> set[str]:
    assert critic is not None
    return {name for name, own in critic.state_dict().items() if not torch.equal(own, before[name])}


def listen_in(env: TextVectorEnv[Any], monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the trainer is told from now on."""
    told: Told = []
    trainer = env.online
    assert trainer is not None
    record = trainer.record

    def spy(turns: Any, feedback: float) -> None:
        told.append((list(turns), feedback))
        record(turns, feedback)

    monkeypatch.setattr(trainer, "record", spy)
    return told


@pytest.mark.parametrize("game", GAMES)
def test_without_it_nothing_changes(
    make: Any, make_game: Make, calm_critic: EmotionalCritic, game: str
) -> None:
    """Off is the default; and on, with nothing to learn, the observations are those of off."""
    plain = make_game(game, critic=calm_critic, user=indifferent).unwrapped
    assert plain.critic is calm_critic and plain.online is None
    on = make(game, user=indifferent)
    for one, other in zip(play(plain, 12), play(on, 12), strict=True):
        equal_steps(one, other)
    assert on.online.drift == 0.0


@pytest.mark.parametrize("game", GAMES)
def test_it_is_told_what_the_critic_read(
    make: Any, terse_llm: FrozenLLM, monkeypatch: pytest.MonkeyPatch, game: str
) -> None:
    env = make(game, max_new_tokens=3)
    told = listen_in(env, monkeypatch)
    observations, infos = env.reset(seed=0)
    whole = [terse_llm.encode_prompt(prompt.text) for prompt in infos["prompt"]]
    heard = count = 0
    for step in range(14):
        results = env.step(act(env, observations, [[row, step] for row in (0, 1)]))
        observations, _, terminated, truncated, infos = results
        for row, episode in enumerate(episodes_of(infos, 2)):
            if episode is None:
                continue
            count += 1
            whole[row] += episode.tokens.tolist()
            turns, feedback = told[heard]
            heard += 1
            assert len(turns) == 2 * (len(episode.turns) + 1)
            assert len(turns[-1]) == len(episode.tokens)
            read = states_of(terse_llm, env.critic, whole[row])[0]
            torch.testing.assert_close(torch.cat(turns), read, atol=1e-3, rtol=1e-3)
            if terminated[row] or truncated[row]:
                scores = infos["final_info"]["feedback"]
                whole[row] = terse_llm.encode_prompt(infos["prompt"][row].text)
            else:
                scores = infos["feedback"]
                said = env._rows.said[row]
                whole[row] += terse_llm.encode_next_turn(said, after=whole[row][-1])
            assert feedback == pytest.approx(scores[row])
        assert heard == len(told)
    assert count >= 6


def test_fear_of_what_ends_badly_grows_and_the_callers_critic_stays(
    make: Any, calm_critic: EmotionalCritic
) -> None:
    before = weights(calm_critic)
    env = make(prompts=["Please help me"], user=cruel, keep_tonic_fear=False)
    assert env.critic is not calm_critic and env.online.critic is env.critic
    first = env.reset(seed=0)[0]["emotion"][:, 0]
    play(env, 60)
    env.reset(seed=0)
    last = env.reset(seed=0)[0]["emotion"][:, 0]
    assert (last > first + 0.2).all()
    assert changed(calm_critic, before) == set()
    learned = changed(env.critic, before)
    assert any(name.startswith("erm.encoders") for name in learned)
    assert not any(name.startswith(("modulator", "fear_module.pain")) for name in learned)
    env.online.restore()
    assert changed(env.critic, before) == set()
    np.testing.assert_array_equal(env.reset(seed=0)[0]["emotion"][:, 0], first)


def test_the_same_seed_learns_the_same(make: Any) -> None:
    runs = []
    for seed in (0, 0, 1):
        env = make(user=cruel)
        results = play(env, 16, seed)
        runs.append((results, weights(env.critic)))
    for one, other in zip(runs[0][0], runs[1][0], strict=True):
        equal_steps(one, other)
    assert all(torch.equal(runs[0][1][name], runs[1][1][name]) for name in runs[0][1])
    assert not all(torch.equal(runs[0][1][name], runs[2][1][name]) for name in runs[0][1])


@pytest.mark.parametrize("game", ["candidates", "talk-candidates"])
def test_a_snapshot_holds_the_reply_so_far_but_not_what_was_learned(
    make: Any, monkeypatch: pytest.MonkeyPatch, game: str
) -> None:
    env = make(game, user=cruel, max_new_tokens=5)
    observations = play(env, 7)[-1][0]
    here, before = env.snapshot(), weights(env.critic)
    futures: list[Told] = []
    for _ in range(2):
        restored = env.restore(here)
        assert {name: value.tolist() for name, value in restored.items()} == {
            name: value.tolist() for name, value in observations.items()
        }
        told = listen_in(env, monkeypatch)
        now = restored
        for step in range(6):
            actions = np.zeros(2, np.int64) if step else act(env, now, [[0, 99], [1, 99]])
            now = env.step(actions)[0]
        futures.append(told)
        monkeypatch.undo()
    assert changed(env.critic, before)
    first, second = futures
    assert len(first) == len(second) > 0
    for (turns, feedback), (again, score) in zip(first, second, strict=True):
        assert feedback == score
        for one, other in zip(turns, again, strict=True):
            assert torch.equal(one, other)


def test_a_step_that_fails_teaches_nothing(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [False]

    def moody(prompt: str, reply: str) -> float:
        if fails[0]:
            raise RuntimeError("not now")
        return -1.0

    env = make(user=moody, max_new_tokens=1)
    told = listen_in(env, monkeypatch)
    observations, _ = env.reset(seed=0)
    before = weights(env.critic)
    actions = act(env, observations, [0, 1])
    fails[0] = True
    with pytest.raises(UserError):
        env.step(actions)
    assert told == [] and changed(env.critic, before) == set()
    fails[0] = False
    env.step(actions)
    assert [[len(turn) for turn in turns][1:] for turns, _ in told] == [[1], [1]]


def test_a_turn_that_cannot_go_on_teaches_nothing(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is judged, but what the user says next cannot be read: the step is taken back."""
    env = make("talk-candidates", user=cruel, max_new_tokens=1)
    told = listen_in(env, monkeypatch)
    observations, _ = env.reset(seed=0)
    actions = act(env, observations, [0, 1])

    def fail(*arguments: Any) -> None:
        raise RuntimeError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(env._rows, "go_on", fail)
        with pytest.raises(RuntimeError, match="not now"):
            env.step(actions)
    assert told == []
    env.step(actions)
    assert len(told) == 2


def test_the_bias_of_an_agent_stays_that_of_the_critic(make: Any) -> None:
    """An agent copies the modulator, which does not learn here; the emotions are observed."""
    env = make(user=cruel)
    agent: Any = make_agent("emotional-ppo", env, seed=0, n_steps=12)
    agent.learn(48)
    assert env.online.drift > 0
    bias, critic = agent.policy.bias, env.critic
    observations, _ = env.reset(seed=0)
    tensors = {name: torch.from_numpy(value) for name, value in observations.items()}
    scores = torch.zeros(2, 6)
    with torch.no_grad():
        expected = critic.bias(EmotionalSignals(tensors["emotion"]), tensors["candidates"].long())
        torch.testing.assert_close(bias.on_logits(scores, tensors), bias.weight * expected)


@pytest.mark.parametrize("options", [{"critic": None}, {"online_critic": "yes"}])
def test_it_needs_a_critic_and_a_yes_or_no(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="online_critic must be True or False, and False without"):
        CandidateOptions(**{"online_critic": True, **options})


def test_a_recording_cannot_hold_what_is_learned(make: Any, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="critic learns while acting is no part"):
        RecordTranscripts(make(), tmp_path / "recording.jsonl")
    assert list(tmp_path.iterdir()) == []
