"""What holds of every way of writing: batches, snapshots, replays, errors, closing, pictures."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from erm_gym.emotion.fear_colours import visible
from erm_gym.envs.text import EpisodeStart
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.envs.text.conversation import conversation_vec
from erm_gym.llm import load_llm
from tests.envs.text.conftest import GAMES, Make, act, equal_steps, lives

every_game = pytest.mark.parametrize("game", sorted(GAMES))


def text_env(envs: VectorEnv) -> Any:
    """Without a type, so that what only text environments have can be reached."""
    return envs.unwrapped


def steps(envs: VectorEnv, observations: Any, keys: range, rows: int) -> list[tuple[Any, ...]]:
    """Results of some steps, with actions that follow from the keys."""
    results = []
    for key in keys:
        results.append(envs.step(act(envs, observations, [[row, key] for row in range(rows)])))
        observations = results[-1][0]
    return results


def equal_lives(one: list[list[Any]], other: list[list[Any]]) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert mine == theirs
        assert mine  # something was written


@every_game
def test_a_row_writes_the_same_in_every_batch_and_in_every_order(
    make_game: Make, game: str
) -> None:
    """Rows of many batches end, and are filled again, at different times."""
    seeds = list(range(16))
    many = lives(make_game(game, 16), seeds, 10)
    assert len({len(life) for life in many}) > 1
    assert len({tuple(map(str, life)) for life in many}) > 8
    equal_lives(many[:4], lives(make_game(game, 4), seeds[:4], 10))
    equal_lives([many[3]], lives(make_game(game, 1), [3], 10))
    shuffled = [9, 2, 14]
    equal_lives([many[row] for row in shuffled], lives(make_game(game, 3), shuffled, 10))
    assert lives(make_game(game, 2), [77, 78], 10) != many[:2]


@every_game
def test_a_game_branches(make_game: Make, game: str) -> None:
    """The same actions from a snapshot give the same future, through refills; others do not."""
    envs = make_game(game, 3, keep_tonic_fear=True, autoreset_mode="NextStep")
    observations, _ = envs.reset(seed=3)
    observations = steps(envs, observations, range(5), 3)[-1][0]
    snapshot = envs.snapshot()
    first = steps(envs, observations, range(10, 19), 3)
    seen = envs.restore(snapshot)
    np.testing.assert_array_equal(seen["hidden"], observations["hidden"])
    other = steps(envs, seen, range(20, 29), 3)
    with pytest.raises(AssertionError):
        for one, two in zip(first, other, strict=True):
            equal_steps(one, two)
    for one, two in zip(steps(envs, envs.restore(snapshot), range(10, 19), 3), first, strict=True):
        equal_steps(one, two)
    twin = make_game(game, 3, keep_tonic_fear=True, autoreset_mode="NextStep")
    for one, two in zip(steps(twin, twin.restore(snapshot), range(10, 19), 3), first, strict=True):
        equal_steps(one, two, atol=1e-3)


@every_game
@pytest.mark.parametrize("order", ["random", "sequential", "shuffled", "curriculum"])
def test_recorded_starts_are_replayed(make_game: Make, game: str, order: str) -> None:
    """Prompts, tokens, feelings and rewards come again, with tonic fear of earlier episodes."""
    options = {"keep_tonic_fear": True, "prompt_order": order, "user": lambda p, r: -0.8}
    options |= {"autoreset_mode": "Disabled", "prior_weight": 0.2}

    def episodes(envs: Any, observations: Any, first: int) -> list[tuple[Any, ...]]:
        """One episode per row; rows that are over wait."""
        lived: list[tuple[Any, ...]] = []
        alive = envs
        for key in range(first, first + 12):
            lived.append(alive.step(act(alive, observations, [[row, key] for row in range(2)])))
            observations = lived[-1][0]
            if (lived[-1][2] | lived[-1][3]).any():
                break
        return lived

    envs = make_game(game, 2, **options)
    observations, _ = envs.reset(seed=1)
    recorded = []
    for number in range(3):
        starts = [envs.episode_start(row) for row in range(2)]
        assert all(isinstance(start, EpisodeStart) for start in starts)
        recorded.append((starts, observations, episodes(envs, observations, 100 * number)))
        observations, _ = envs.reset()
    assert max(start.tonic_fear for start in recorded[-1][0]) > 0.1
    again = make_game(game, 2, **options)
    for number in (2, 0, 1):
        starts, before, lived = recorded[number]
        seen, infos = again.replay(starts)
        assert infos["_prompt"].all()
        for name, value in before.items():
            np.testing.assert_allclose(seen[name], value, atol=1e-4, err_msg=name)
        for one, two in zip(episodes(again, seen, 100 * number), lived, strict=True):
            equal_steps(one, two, atol=1e-3)


class Broken:
    """Stands for the LM's forward, and breaks the n-th one from now."""

    def __init__(self, envs: Any, number: int, error: BaseException | float) -> None:
        self.slots, self.number, self.error = envs._rows._slots, number, error
        self.forward = self.slots._forward
        self.slots._forward = self
        self.calls = 0

    def __call__(self, step: Any) -> Any:
        self.calls += 1
        if self.calls != self.number:
            return self.forward(step)
        if isinstance(self.error, BaseException):
            self.forward(step)  # it has written into the cache
            raise self.error
        output = self.forward(step)
        logits = output.logits.clone()
        logits[-1, 5] = self.error
        return output._replace(logits=logits)

    def mend(self) -> None:
        self.slots._forward = self.forward


@every_game
@pytest.mark.parametrize(
    ("error", "expected"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (float("nan"), FloatingPointError)],
    ids=["interrupt", "nan"],
)
def test_a_forward_that_breaks_leaves_the_rows_as_they_were(
    make_game: Make, game: str, error: Any, expected: type[BaseException]
) -> None:
    """Every forward of every step breaks once: tokens, and what the user says next."""
    envs, twin = (make_game(game, 2, autoreset_mode="Disabled", max_new_tokens=5) for _ in range(2))
    observations, _ = envs.reset(seed=[4, 9])
    twin.reset(seed=[4, 9])
    broken = turns = 0
    for key in range(8):
        actions = act(envs, observations, [[row, key] for row in range(2)])
        number = 1
        while True:
            breaking = Broken(envs, number, error)
            try:
                result = envs.step(actions)
            except expected:
                broken += 1
            else:
                break
            finally:
                breaking.mend()
            number += 1
        equal_steps(result, twin.step(actions))
        turns += sum(map(len, envs._rows.turns))
        observations = result[0]
        if (done := result[2] | result[3]).any():
            observations, _ = envs.reset(options={"reset_mask": done})
            twin.reset(options={"reset_mask": done})
    assert broken >= 8
    assert ("talk" in game) == (turns > 0)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_rows_whose_next_prompt_cannot_be_read_wait(make_game: Make, mode: AutoresetMode) -> None:
    """The step itself was taken; the next one, or a reset, lets them begin."""
    options = {"autoreset_mode": mode, "max_new_tokens": 2, "prompt_order": "sequential"}
    envs = make_game("tokens", 2, prompts=["Hi", "Oh", "Me", "So"], **options)
    envs.reset(seed=0)
    here = np.array([0, 0])  # no end of turn
    envs.step(here)
    prefill = envs._rows._slots.prefill

    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    envs._rows._slots.prefill = interrupted
    done = np.ones(2, bool)
    with pytest.raises(KeyboardInterrupt):
        if mode != AutoresetMode.SAME_STEP:
            envs.step(here)
        if mode == AutoresetMode.DISABLED:
            envs.reset(options={"reset_mask": done})
        else:
            envs.step(here)
    envs._rows._slots.prefill = prefill
    if mode == AutoresetMode.DISABLED:
        with pytest.raises(ValueError, match="row 0 has finished"):
            envs.step(here)
        observations, infos = envs.reset(options={"reset_mask": done})
    else:
        observations, rewards, terminated, truncated, infos = envs.step(here)
        assert not rewards.any() and not (terminated | truncated).any()
    assert [prompt.text for prompt in infos["prompt"]] == ["Me", "So"]
    assert not observations["progress"].any()
    observations, *_ = envs.step(here)
    np.testing.assert_array_equal(observations["progress"], 0.5)


def test_a_first_reset_that_is_interrupted_can_be_taken_again(make_game: Make) -> None:
    envs, twin = make_game("candidates", seed=5), make_game("candidates", seed=5)
    breaking = Broken(envs, 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        envs.reset()
    breaking.mend()
    with pytest.raises(RuntimeError, match="reset the environment before the first step"):
        envs.step(np.zeros(2, np.int64))
    np.testing.assert_array_equal(envs.reset()[0]["hidden"], twin.reset()[0]["hidden"])


@every_game
def test_a_closed_game_refuses(make_game: Make, game: str) -> None:
    envs = make_game(game)
    observations, _ = envs.reset(seed=0)
    actions, snapshot = act(envs, observations, [0, 1]), envs.snapshot()
    start = envs.episode_start(0)
    envs.close()
    envs.close()  # twice is once
    for call in (
        lambda: envs.step(actions),
        envs.reset,
        envs.snapshot,
        lambda: envs.restore(snapshot),
        lambda: envs.replay([start, start]),
    ):
        with pytest.raises(RuntimeError, match="the environment is closed; make a new one"):
            call()


@every_game
def test_masks_are_those_of_the_observation(make_game: Make, game: str) -> None:
    envs = make_game(game)
    observations, _ = envs.reset(seed=0)
    if isinstance(envs.single_action_space, spaces.Box):
        with pytest.raises(ValueError, match="are no choices"):
            envs.action_masks()
        return
    masks = envs.action_masks()
    assert masks.dtype == bool and masks.shape == (2, envs.single_action_space.n)
    expected = observations.get("action_mask", np.ones_like(masks))
    np.testing.assert_array_equal(masks, expected)


def shown(text: str) -> str:
    """What is rendered, without colours and line breaks."""
    rows = re.sub("\x1b\\[[0-9;]*m", "", text).split("\n")
    return re.sub(r"\s+", "", "".join(rows))


@every_game
def test_pictures_show_all_that_was_said(make_game: Make, game: str) -> None:
    """In a conversation that means all of its turns."""
    options = {"user": lambda p, r: 0.1, "autoreset_mode": "NextStep"}
    options["max_new_tokens"] = 3 if "talk" in game else 12
    pictures = {}
    for mode in ("ansi", "rgb_array"):
        envs = make_game(game, 2, render_mode=mode, **options)
        observations, _ = envs.reset(seed=6)
        pictures[mode] = [envs.render()]
        steps(envs, observations, range(4), 2)
        pictures[mode].append(envs.render())
    for texts, images in zip(*pictures.values(), strict=True):
        assert len(texts) == len(images) == 2
        assert all(isinstance(text, str) for text in texts)
        for image in images:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            assert len(np.unique(image)) > 10  # something is drawn
    for row in range(2):
        texts, images = ([shots[0][row], shots[1][row]] for shots in pictures.values())
        assert (texts[0] == texts[1]) == np.array_equal(*images)
    rows, written = text_env(envs)._rows, 0
    for row, text in enumerate(pictures["ansi"][1]):
        turns = rows.turns[row]
        spoken = [turn.tokens for turn in turns] + [rows.written(row)[0]]
        said = [turn.turn.said for turn in turns] + [rows.said[row]]
        assert ("talk" in game) or not turns
        place = 0
        for words, tokens in zip(said, spoken, strict=True):
            for part in (words, visible(rows.llm.decode(tokens.tolist()))):
                wanted = shown(part)
                found = shown(text).find(wanted, place)
                assert found >= 0, (wanted, shown(text))
                place = found + len(wanted)
        felt = any(map(len, spoken))
        assert ("fear" in shown(text)) == felt  # in the legend
        written += felt
    assert written
    if "talk" in game:
        assert any(rows.turns)
    assert make_game(game).render() is None


@pytest.mark.real_model
def test_the_real_model_keeps_its_cache_over_turns() -> None:
    """Hidden states after two turns equal those of the whole conversation, read at once."""
    llm = load_llm("smollm2-135m")
    options: dict[str, Any] = {"prompts": ["Is it safe to swim alone?"], "critic": None}
    options |= {"max_new_tokens": 4, "user": lambda p, r: 0.0, "k": 8, "max_turns": 9}
    envs = text_env(conversation_vec(1, llm=llm, **options))
    observations, _ = envs.reset(seed=0)
    tokens = llm.encode_prompt("Is it safe to swim alone?")
    for step in range(9):
        ends = np.isin(observations["candidates"][0], list(llm.end_of_turn))
        action = int((ends == (step == 1)).argmax())
        tokens.append(int(observations["candidates"][0, action]))
        turns = len(envs._rows.turns[0])
        observations, *_ = envs.step([action])
        if len(envs._rows.turns[0]) > turns:
            tokens += llm.encode_next_turn(envs._rows.said[0], after=tokens[-1])
    assert len(envs._rows.turns[0]) >= 2
    logits, hidden = llm.recompute(tokens)
    logprobs = (logits[-1] / 0.7).log_softmax(-1)[torch.from_numpy(observations["candidates"][0])]
    np.testing.assert_allclose(observations["logprobs"][0], logprobs, atol=1e-3)
    np.testing.assert_allclose(observations["hidden"][0], hidden[-1], atol=1e-2, rtol=1e-3)


@pytest.mark.real_model
def test_the_real_model_can_always_end_its_turn() -> None:
    llm = load_llm("smollm2-135m")
    options: dict[str, Any] = {"prompts": ["Hello"], "critic": None, "user": lambda p, r: 0.0}
    envs = candidate_generation_vec(2, llm=llm, k=4, max_new_tokens=3, top_p=0.1, **options)
    observations, _ = envs.reset(seed=0)
    for _ in range(4):
        ends = np.isin(observations["candidates"], list(llm.end_of_turn))
        assert ends.any(axis=1).all()
        assert observations["action_mask"][ends].all() and observations["action_mask"][:, 0].all()
        assert observations["action_mask"].sum() < 8
        observations, *_ = envs.step([0, 0])
