"""`ErmGym/EmotionControl-v0`: steer the emotions under which the LM writes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from erm_gym.emotion import EMOTIONS
from erm_gym.envs.text.base import TextVectorEnv
from erm_gym.envs.text.critic_rows import CriticRows
from erm_gym.envs.text.options import ControlOptions, OptionError
from erm_gym.envs.text.rows import TextRows
from erm_gym.envs.text.single import make_single
from erm_gym.envs.text.writer import Writer, Written
from erm_gym.llm import FrozenLLM, SlotOutput
from erm_gym.llm.distribution import likeliest, normalisers
from erm_gym.llm.edits import Edits
from erm_gym.llm.suggestion import suggest
from erm_gym.steering import ContrastiveDirections

DRIVES = len(EMOTIONS)
ACTION_SIZE = DRIVES + 2
"""Drives of the six emotions, temperature, strength of the bias."""

DICE = 1
"""Behind a row's seed and the turn: the user draws from these two alone, and other numbers."""


class ControlWriter(Writer[ControlOptions]):
    """An action sets the emotions under which the LM samples the next few tokens."""

    critic: CriticRows

    def __init__(self, rows: TextRows, critic: CriticRows | None, options: ControlOptions) -> None:
        """As `Writer`; raises OptionError if there is no critic whose emotions could be driven."""
        if critic is None:
            raise OptionError(
                "emotional control needs a critic, got critic=None; leave it at 'default'"
            )
        if options.pool_size > rows.llm.vocab_size:
            raise OptionError(
                f"pool_size must be at most the vocabulary of {rows.llm.name}, "
                f"{rows.llm.vocab_size}, got {options.pool_size}"
            )
        super().__init__(rows, critic, options)
        self._directions = _directions(options, rows.llm)
        shape = rows.state.tokens.shape
        self.hidden_state["dice"] = np.zeros(shape)  # [B, L] in [0, 1), one per token of a reply

    def observation_spaces(self) -> dict[str, spaces.Space[Any]]:
        """Nothing of its own."""
        return {}

    def action_space(self) -> spaces.Box:
        """`Box(-1, 1, (8,))`, or `(9,)` with steering."""
        size = ACTION_SIZE + (self._directions is not None)
        return spaces.Box(-1.0, 1.0, (size,), np.float32)

    def check(self, actions: Any) -> np.ndarray:
        """Actions `[B, 8]`, or `[B, 9]` with steering, float32 in [-1, 1]."""
        array = np.asarray(actions)
        shape = (len(self.rows.prompts), *self.action_space().shape)
        if array.shape != shape or not np.issubdtype(array.dtype, np.floating):
            raise ValueError(
                f"actions must be floating-point numbers of shape {shape}, got dtype "
                f"{array.dtype} and shape {array.shape}"
            )
        outside = ~((array >= -1.0) & (array <= 1.0))  # true for nan
        if outside.any():
            row, part = (int(index[0]) for index in np.nonzero(outside))
            raise ValueError(
                f"action {part} of row {row} must be in [-1, 1], got {array[row, part]}"
            )
        return array.astype(np.float32)

    def look(self, rows: np.ndarray, output: SlotOutput) -> None:
        """Keeps the likeliest tokens for the next action."""
        normaliser = normalisers(output.logits, self.options.prior_temperature)  # [n, 2]
        self.require_finite(rows, normaliser)
        top, candidates = likeliest(output.logits, self.options.pool_size)  # [n, K]
        new = {"logits": top.float(), "candidates": candidates, "normalisers": normaliser}
        for name, value in new.items():
            if len(rows) == len(self.rows.prompts):
                self.hidden_state[name] = value
            else:
                index = torch.from_numpy(rows).to(value.device)
                self.hidden_state[name] = self.hidden_state[name].index_copy(0, index, value)

    def write(self, actions: np.ndarray, running: np.ndarray) -> Written:
        """Lets the LM sample `tokens_per_action` tokens, fewer where a reply ends."""
        self._throw_dice(np.flatnonzero(running & (self.rows.state.lengths == 0)))
        prior = np.zeros(len(running))
        ended, full = np.zeros_like(running), np.zeros_like(running)
        going = running.copy()
        edits = self._edits(actions)
        for token in range(self.options.tokens_per_action):
            if token:
                self.critic.read_token(self.rows.state.token_states, going)
            tokens, own, under_prior = self._sample(actions)
            output = self.rows.append(tokens, own, going, self.critic.total_fear, edits)
            self.look(np.flatnonzero(going), output)
            prior += np.where(going, under_prior, 0.0)
            newly_ended, newly_full = self.rows.endings(tokens, going)
            ended, full = ended | newly_ended, full | newly_full
            going = going & ~(newly_ended | newly_full)
            if not going.any():
                break
        return Written(prior=prior, ended=ended, full=full)

    def _throw_dice(self, rows: np.ndarray) -> None:
        """Draws the randomness of whole replies, from the seed of the episode and the turn."""
        for row in rows.tolist():
            seed = [int(self.rows.state.seeds[row]), len(self.rows.turns[row]), DICE]
            limit = self.hidden_state["dice"].shape[1]
            self.hidden_state["dice"][row] = np.random.default_rng(seed).random(limit)

    def _edits(self, actions: np.ndarray) -> Edits:
        """What steers the tokens that are written under an action."""
        if self._directions is None:
            return {}
        weights = torch.zeros(len(actions), len(self._directions.emotions))
        emotion = self._directions.number(self.options.steer_towards)
        weights[:, emotion] = self.options.max_steering * torch.from_numpy(actions[:, ACTION_SIZE])
        return self._directions.edits(weights.to(self._directions.directions.device))

    @torch.no_grad()
    def _sample(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A token per row, and its log-probabilities at temperature 1 and under the prior."""
        kept = self.hidden_state
        critic, device = self.critic.critic, kept["logits"].device
        chosen = torch.from_numpy(actions).to(device)  # [B, 8 or 9]
        felt = torch.from_numpy(self.critic.felt["emotion"]).to(device)
        driven = (felt + chosen[:, :DRIVES]).clamp(0.0, 1.0)
        moved = critic.temperature(driven) / critic.config.temperature.base
        temperature = self.options.prior_temperature * 2.0 ** chosen[:, DRIVES] * moved  # [B]
        strength = 1.0 + chosen[:, DRIVES + 1, None]  # [B, 1] in [0, 2]
        scores = kept["logits"] / temperature[:, None]
        scores = scores + strength * critic.bias(driven, kept["candidates"])  # [B, K]
        below = scores.softmax(dim=-1).cumsum(dim=-1)
        rows = np.arange(len(actions))
        # Behind the last token of a full reply nothing is sampled; its row is ignored.
        place = np.minimum(self.rows.state.lengths, kept["dice"].shape[1] - 1)
        dice = torch.from_numpy(kept["dice"][rows, place].astype(np.float32)).to(device)[:, None]
        rank = (below <= dice).sum(dim=-1, keepdim=True).clamp(max=below.shape[1] - 1)
        logits = kept["logits"].gather(1, rank)[:, 0]
        tokens = kept["candidates"].gather(1, rank)[:, 0]
        own = (logits - kept["normalisers"][:, 0]).clamp(max=0.0)
        prior = logits / self.options.prior_temperature - kept["normalisers"][:, 1]
        return (
            tokens.cpu().numpy(),
            own.cpu().numpy(),
            prior.clamp(max=0.0).double().cpu().numpy(),
        )


def _directions(options: ControlOptions, llm: FrozenLLM) -> ContrastiveDirections | None:
    """The directions that the options name, on the LM's device.

    Raises:
        LLMError: If their file cannot be read, or they belong to another LM.
        OptionError: If none of them is of the emotion.
    """
    if options.steering is None:
        return None
    given = options.steering
    if not isinstance(given, ContrastiveDirections):
        given = ContrastiveDirections.load(Path(given))
    given.require(llm)
    if options.steer_towards not in given.emotions:
        hint = suggest(options.steer_towards, given.emotions)
        raise OptionError(f"unknown steer_towards {options.steer_towards!r}; {hint}")
    return given.to(llm.device)


class EmotionControlVectorEnv(TextVectorEnv[ControlOptions]):
    """Set the emotions, temperature and steering strength under which the LM writes.

    ## Description

    As `ErmGym/CandidateGeneration-v0`, but the language model chooses its words by itself. At every
    step it samples the next `tokens_per_action` tokens from its `pool_size` likeliest ones, under
    the critic's modulation, which the agent drives. What is sampled depends on the row's own seed
    alone.

    ## Action Space

    `Box(-1, 1, (8,), float32)`, with the option `steering` `(9,)`:

    | part | meaning |
    |---|---|
    | 0 to 5 | drive of fear, curiosity, anger, joy, anxiety, confidence |
    | 6 | temperature: half, to twice, that of the critic's modulation |
    | 7 | strength of the bias: from none, over the critic's own at 0, to twice that |
    | 8 | steering strength: how much of a direction is added to hidden states |

    For an action a, a token c has the probability softmax(logit(c) / T + s * bias(e, c)),
    where bias is the critic's and

        e = clamp(felt + a[0:6], 0, 1)
        T = prior_temperature * 2^a[6] * temperature(e) / base
        s = 1 + a[7]

    where temperature(e) and base are those of the critic's `TemperatureModulator`. The action 0
    leaves the critic's modulation as it is. With `steering`, the hidden states of the tokens that
    are written under the action get `max_steering` * a[8] times the direction of `steer_towards`
    added, in every layer that the directions were taken from.

    ## Observation Space

    `Dict` of

    | key | shape | dtype | what |
    |---|---|---|---|
    | `hidden` | `[d]` | float32 | hidden state of the LM at the last token, middle of the stack |
    | `prompt_hidden` | `[d]` | float32 | mean hidden state over the prompt's own tokens |
    | `progress` | `[1]` | float32 | share of the token limit that is used, in [0, 1] |
    | `emotion` | `[6]` | float32 | what the critic feels, in [0, 1] |
    | `fear` | `[2]` | float32 | the critic's phasic and tonic fear, in [0, 1] |

    ## Rewards

    The user's feedback in [-1, 1] at the last step of a reply, 0 before. With `prior_weight` > 0,
    every step adds `prior_weight` * the sum of log p_LM(token) at the prior temperature over its
    tokens. The terms are in `info["reward_terms"]`.

    ## Episode End

    Terminated when the LM ends its turn; truncated at `max_new_tokens`, be it in the middle of a
    step.

    ## Info

    As in `ErmGym/CandidateGeneration-v0`.

    ## Arguments

    See `ControlOptions`. There must be a critic.

    ## Registered Configurations

    - `ErmGym/EmotionControl-v0`

    Source: project design, section 5; the modulation is the seed document's. Steering is
    contrastive activation addition: Rimsky et al. 2024.
    """

    options_type = ControlOptions
    env_id = "ErmGym/EmotionControl-v0"

    def make_writer(self) -> ControlWriter:
        """A `ControlWriter`."""
        return ControlWriter(self._rows, self._critic_rows, self.options)


def emotion_control_vec(num_envs: int = 1, **options: Any) -> VectorEnv:
    """Entry point of `gym.make_vec`.

    Args:
        num_envs: Number of rows, >= 1.
        **options: Fields of `ControlOptions`.
    """
    return EmotionControlVectorEnv.from_keywords(num_envs, options)


def emotion_control_env(**options: Any) -> gym.Env:
    """Entry point of `gym.make`; the options are fields of `ControlOptions`."""
    return make_single(EmotionControlVectorEnv, options)
