"""`ErmGym/EmotionControl-v0`: the distribution it samples from, and many tokens per action."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text import ControlOptions, EmotionControlVectorEnv, OptionError
from erm_gym.feedback import Episode
from erm_gym.llm import FrozenLLM, LLMError
from erm_gym.steering import ContrastiveDirections
from tests.envs.text.conftest import content, cruel, states_of

ZERO = np.zeros(8, np.float32)


def make(
    llm: FrozenLLM, critic: EmotionalCritic | None, num_envs: int = 1, **options: Any
) -> EmotionControlVectorEnv:
    defaults = {"prompts": ["Hi"], "max_new_tokens": 4, "user": content, "tokens_per_action": 2}
    own = ControlOptions(llm=llm, critic=critic, **{**defaults, **options})
    return EmotionControlVectorEnv(num_envs, own)


def action(
    drive: dict[int, float] | None = None, temperature: float = 0, strength: float = 0
) -> Any:
    made = ZERO.copy()
    for emotion, value in (drive or {}).items():
        made[emotion] = value
    made[6:] = temperature, strength
    return made


def throw(env: EmotionControlVectorEnv, dice: Any) -> None:
    """Loads the dice of a reply before its first token."""

    def load(rows: np.ndarray) -> None:
        env._writer.hidden_state["dice"][rows] = dice

    env._writer._throw_dice = load  # type: ignore[attr-defined]


def one_token(env: EmotionControlVectorEnv, chosen: np.ndarray, dice: float) -> int:
    """The token that an action samples first, at a place of the unit interval."""
    env.reset(seed=0)
    throw(env, dice)
    env.step(chosen[None])
    return int(env._rows.state.tokens[0, 0])


@pytest.mark.parametrize(
    "chosen",
    [
        action(),
        action({0: 1.0, 1: -1.0}),
        action({1: 0.7, 5: -0.4}, temperature=1.0),
        action({2: 1.0, 0: 0.3}, temperature=-1.0, strength=1.0),
        action({0: 1.0}, strength=-1.0),
        action({3: -0.2}, temperature=0.5, strength=-0.5),
    ],
    ids=["zero", "fear", "hot", "angry", "no-bias", "half"],
)
def test_the_sampling_distribution_by_hand(
    llm: FrozenLLM, feeling_critic: EmotionalCritic, chosen: np.ndarray
) -> None:
    """softmax(logit / T + s * bias) over the pool, likeliest token first, at ten places."""
    critic = copy.deepcopy(feeling_critic)
    critic.modulator.set_category("cautious", list(range(0, 259, 3)))
    critic.modulator.set_category("alternative", list(range(1, 259, 4)))
    env = make(llm, critic, pool_size=9, prior_temperature=0.8, tokens_per_action=1)
    felt = torch.from_numpy(env.reset(seed=0)[0]["emotion"][0])
    logits = llm.recompute(llm.encode_prompt("Hi"))[0][-1]
    own, pool = logits.topk(9)
    drive = (felt + torch.from_numpy(chosen[:6])).clamp(0, 1)
    fear, curiosity, _, _, _, confidence = drive.tolist()
    moved = (1 - 0.3 * fear) * (1 + 0.3 * curiosity) * (1.5 - confidence)
    temperature = 0.8 * 2 ** float(chosen[6]) * min(max(moved, 0.1), 2.0)
    with torch.no_grad():
        bias = critic.modulator.scale * drive @ critic.modulator.W[:, pool]
    for emotion, category in ((0, "cautious"), (2, "alternative")):
        if drive[emotion] > 0.5:
            bias = bias + 2 * drive[emotion] * torch.isin(pool, critic.modulator.category(category))
    assert bias.std() > 0.01
    probabilities = (own / temperature + (1 + float(chosen[7])) * bias).softmax(-1)
    edges = probabilities.double().cumsum(0)
    for place in np.linspace(0.003, 0.997, 10):
        if (edges - place).abs().min() > 1e-4:
            expected = int(pool[int((edges <= place).sum())])
            assert one_token(env, chosen, float(place)) == expected
    # And right at the edges of the most probable token.
    best = int(probabilities.argmax())
    low, high = float(edges[best] - probabilities[best]), float(edges[best])
    for place in (low + 1e-4, high - 1e-4):
        assert one_token(env, chosen, place) == int(pool[best])


def test_the_distribution_is_what_is_sampled(
    llm: FrozenLLM, feeling_critic: EmotionalCritic
) -> None:
    """Over many rows with their own seeds, tokens are as frequent as they are probable."""
    env = make(llm, feeling_critic, 600, pool_size=4, tokens_per_action=1, max_new_tokens=2)
    observations, _ = env.reset(seed=0)
    with torch.no_grad():
        felt = torch.from_numpy(observations["emotion"][:1])
        own, pool = llm.recompute(llm.encode_prompt("Hi"))[0][-1:].topk(4)
        temperature = 0.7 * feeling_critic.temperature(felt)
        expected = (own / temperature + feeling_critic.bias(felt, pool)).softmax(-1)[0]
    env.step(np.tile(ZERO, (600, 1)))
    written = torch.from_numpy(env._rows.state.tokens[:, :1])
    shares = (written == pool).float().mean(0)
    assert shares.sum() == 1.0
    assert (shares - expected).abs().max() < 4 * 0.5 / 600**0.5


def test_a_strength_of_minus_one_switches_the_bias_off(
    llm: FrozenLLM, feeling_critic: EmotionalCritic
) -> None:
    plain = copy.deepcopy(feeling_critic)
    torch.nn.init.zeros_(plain.modulator.W)
    for name in ("cautious", "exploratory", "alternative"):
        plain.modulator.set_category(name, [])
    written = {}
    for name, critic, strength in (
        ("off", feeling_critic, -1.0),
        ("none", plain, 1.0),
        ("on", feeling_critic, 1.0),
    ):
        env = make(llm, critic, 8, max_new_tokens=6, tokens_per_action=6)
        env.reset(seed=3)
        *_, infos = env.step(np.tile(action(strength=strength), (8, 1)))
        episodes = infos["final_info"]["judged_episode"]
        written[name] = [episode.tokens.tolist() for episode in episodes]
    assert written["off"] == written["none"]
    assert written["off"] != written["on"]


def test_rewards_and_log_probabilities_by_hand(
    llm: FrozenLLM, feeling_critic: EmotionalCritic
) -> None:
    """Three tokens per action, five in all: a step of three, one of two."""
    env = make(
        llm,
        feeling_critic,
        tokens_per_action=3,
        max_new_tokens=5,
        prior_weight=0.25,
        prior_temperature=0.6,
    )
    seen, _ = env.reset(seed=1)
    rewards, progress = [], [float(seen["progress"][0, 0])]
    for step in range(2):
        seen, reward, terminated, truncated, infos = env.step([ZERO])
        rewards.append(float(reward[0]))
        assert not terminated[0] and truncated[0] == (step == 1)
        final = infos["final_obs"][0] if truncated[0] else {"progress": seen["progress"][0]}
        progress.append(float(final["progress"][0]))
    assert progress == pytest.approx([0, 0.6, 1])
    episode: Episode = infos["final_info"]["judged_episode"][0]
    prompt = llm.encode_prompt("Hi")
    logits = llm.recompute(prompt + episode.tokens.tolist())[0][len(prompt) - 1 : -1]
    places = torch.arange(5), torch.from_numpy(episode.tokens)
    np.testing.assert_allclose(episode.logprobs, logits.log_softmax(-1)[places], atol=1e-3)
    prior = 0.25 * (logits / 0.6).log_softmax(-1)[places]
    assert rewards == pytest.approx(
        [float(prior[:3].sum()), float(prior[3:].sum()) + 0.5], abs=1e-3
    )
    terms = {
        name: float(part[0])
        for name, part in infos["final_info"]["reward_terms"].items()
        if name[0] != "_"
    }
    assert terms["feedback"] == 0.5
    assert sum(terms.values()) == pytest.approx(sum(rewards))


def test_a_row_that_ends_in_mid_action_waits_for_the_others(
    llm: FrozenLLM, feeling_critic: EmotionalCritic
) -> None:
    """What ends a turn depends on the dice: row 0 ends it with its second of four tokens."""
    env = make(llm, feeling_critic, 2, tokens_per_action=4, max_new_tokens=6)
    env.reset(seed=5)
    env.step([ZERO, ZERO])
    spoken = env._rows.state.tokens[:, :4].copy()
    terse = copy.copy(llm)
    terse.end_of_turn = frozenset({int(spoken[0, 1])})
    assert terse.end_of_turn.isdisjoint(set(spoken[1].tolist()) | {int(spoken[0, 0])})
    env = make(terse, feeling_critic, 2, tokens_per_action=4, max_new_tokens=6)
    env.reset(seed=5)
    observations, _, terminated, truncated, infos = env.step([ZERO, ZERO])
    assert (terminated.tolist(), truncated.tolist()) == ([True, False], [False, False])
    assert infos["final_info"]["judged_episode"][0].tokens.tolist() == spoken[0, :2].tolist()
    assert infos["final_info"]["transcript"][0] == llm.decode([int(spoken[0, 0])])
    assert infos["final_obs"][0]["progress"] == pytest.approx(2 / 6)
    np.testing.assert_array_equal(env._rows.state.tokens[1, :4], spoken[1])
    assert observations["progress"][:, 0].tolist() == pytest.approx([0, 4 / 6])
    tokens = llm.encode_prompt("Hi") + spoken[1].tolist()
    np.testing.assert_allclose(observations["hidden"][1], llm.recompute(tokens)[1][-1], atol=1e-3)


def test_the_critic_reads_every_token_once(
    terse_llm: FrozenLLM, feeling_critic: EmotionalCritic
) -> None:
    """Row by row, against a loop over the final episodes: feedback comes with the last token."""
    critic = feeling_critic
    options = {"max_new_tokens": 7, "user": cruel, "keep_tonic_fear": True}
    env = make(terse_llm, critic, 3, tokens_per_action=3, **options)
    observations, _ = env.reset(seed=2)
    prompt = terse_llm.encode_prompt("Hi")
    states = [critic.initial_state(1) for _ in range(3)]
    fear: list[list[float]] = [[], [], []]  # total fear when the next token is chosen

    def read(row: int, hidden: torch.Tensor, feedback: float = np.nan) -> np.ndarray:
        with torch.no_grad():
            signals, afraid, states[row] = critic.observe(
                hidden, states[row], torch.tensor([feedback])
            )
        fear[row].append(float(afraid.max()))
        return torch.cat([signals.tensor[0], afraid[0]]).numpy()

    def begin(row: int) -> None:
        mask = torch.ones(1, dtype=torch.bool)
        states[row] = critic.reset(states[row], mask, keep_tonic_fear=True)
        fear[row].clear()
        felt = read(row, states_of(terse_llm, critic, prompt))
        np.testing.assert_allclose(
            np.concatenate([observations[key][row] for key in ("emotion", "fear")]), felt, atol=1e-5
        )

    for row in range(3):
        begin(row)
    lengths = []
    for _ in range(8):
        observations, _, terminated, truncated, infos = env.step(np.tile(ZERO, (3, 1)))
        for row in np.flatnonzero(terminated | truncated).tolist():
            episode: Episode = infos["final_info"]["judged_episode"][row]
            final = infos["final_obs"][row]
            lengths.append(len(episode.tokens))
            hidden = states_of(terse_llm, critic, prompt + episode.tokens.tolist())
            for index in range(-lengths[-1], 0):
                felt = read(row, hidden[:, index, None], -0.9 if index == -1 else np.nan)
            np.testing.assert_allclose(
                np.concatenate([final["emotion"], final["fear"]]), felt, atol=1e-3
            )
            chosen_in = infos["final_info"]["token_fear"][row]
            np.testing.assert_allclose(chosen_in, fear[row][:-1], atol=1e-3)
            begin(row)
    assert len(set(lengths)) >= 3 and max(lengths) > 3


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((2, 7), np.float32), r"of shape \(2, 8\), got .* \(2, 7\)"),
        (np.zeros((2, 8), np.int64), "dtype int64"),
        (np.full((2, 8), np.nan), r"action 0 of row 0 must be in \[-1, 1\], got nan"),
        (np.array([ZERO, action(strength=1.5)]), r"action 7 of row 1 must be .* got 1.5"),
    ],
)
def test_a_bad_action_is_named(
    llm: FrozenLLM, feeling_critic: EmotionalCritic, actions: np.ndarray, message: str
) -> None:
    env = make(llm, feeling_critic, 2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"critic": None}, "emotional control needs a critic"),
        ({"pool_size": 260}, "pool_size must be at most the vocabulary of tiny, 259, got 260"),
        ({"pool_size": 1}, "pool_size must be a whole number, at least 2, got 1"),
        ({"tokens_per_action": 0}, "tokens_per_action must be .*at least 1, got 0"),
    ],
)
def test_a_bad_option_is_named(
    llm: FrozenLLM, feeling_critic: EmotionalCritic, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        make(llm, **{"critic": feeling_critic, **options})


def test_nothing_can_be_masked(llm: FrozenLLM, feeling_critic: EmotionalCritic) -> None:
    with pytest.raises(ValueError, match="EmotionControl-v0 are no choices"):
        make(llm, feeling_critic).action_masks()


def directions(llm: FrozenLLM, **changes: Any) -> ContrastiveDirections:
    generator = torch.Generator().manual_seed(0)
    made: dict[str, Any] = {
        "emotions": ("fear", "joy"),
        "layers": (1, 3),
        "directions": torch.randn(2, 2, llm.hidden_size, generator=generator),
        "counts": ((1, 1), (1, 1)),
        "fingerprint": llm.fingerprint,
    }
    return ContrastiveDirections(**{**made, **changes})


def steered_states(env: EmotionControlVectorEnv, steering: Sequence[float]) -> np.ndarray:
    """Hidden states `[B, 1, d]` of the first token of each row, written under these strengths."""
    env.reset(seed=[0] * len(steering))
    throw(env, 0.0)
    actions = np.zeros((len(steering), 9), np.float32)
    actions[:, 8] = steering
    env.step(actions)
    return env._rows.state.reply_hidden[:, :1].copy()


def test_rows_of_one_batch_are_steered_each_by_its_own_strength(
    llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    options = {"steering": directions(llm), "max_new_tokens": 2, "tokens_per_action": 2}
    env = make(llm, critic, 3, **options)
    assert env.single_action_space.shape == (9,)
    zero, half, full = steered_states(env, [0.0, 0.5, 1.0])
    assert not np.allclose(zero, half)
    for state, strength in ((zero, 0.0), (half, 0.5), (full, 1.0)):
        alone = steered_states(make(llm, critic, 1, **options), [strength])[0]
        np.testing.assert_allclose(state, alone, atol=1e-5)


def test_steering_of_strength_zero_is_no_steering(llm: FrozenLLM, critic: EmotionalCritic) -> None:
    env, plain = make(llm, critic, steering=directions(llm)), make(llm, critic)
    for one in (env, plain):
        one.reset(seed=0)
    steered = env.step(np.zeros((1, 9), np.float32))[0]
    for key, value in plain.step(np.zeros((1, 8), np.float32))[0].items():
        assert np.array_equal(value, steered[key])


def test_what_is_added_is_the_direction_times_its_strength(
    llm: FrozenLLM, critic: EmotionalCritic
) -> None:
    """Read at the layer that is steered, and at no other, the difference is exactly that."""
    here = directions(llm, layers=(llm.layer,), directions=torch.ones(2, 1, llm.hidden_size))
    options = {"steering": here, "steer_towards": "fear", "max_steering": 3.0}
    env = make(llm, critic, 2, **options)
    plain, steered = steered_states(env, [0.0, -0.5])
    np.testing.assert_allclose(steered - plain, -1.5, atol=1e-5)


def test_steering_that_does_not_fit_is_an_error(llm: FrozenLLM, critic: EmotionalCritic) -> None:
    with pytest.raises(LLMError, match="belong to another"):
        make(llm, critic, steering=directions(llm, fingerprint="another"))
    with pytest.raises(OptionError, match="unknown steer_towards 'jy'"):
        make(llm, critic, steering=directions(llm), steer_towards="jy")
    with pytest.raises(LLMError, match=r"contrastive.safetensors is no file of steering"):
        make(llm, critic, steering="nowhere")
    with pytest.raises(OptionError, match="max_steering"):
        make(llm, critic, max_steering=0.0)
