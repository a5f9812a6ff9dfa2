"""`ErmGym/CandidateGeneration-v0`: write a reply by choosing among the LM's likeliest tokens."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from erm_gym.envs.text.base import TextVectorEnv
from erm_gym.envs.text.options import CandidateOptions, OptionError
from erm_gym.envs.text.single import make_single
from erm_gym.envs.text.writer import TokenPerActionWriter, check_discrete
from erm_gym.llm import SlotOutput
from erm_gym.llm.distribution import likeliest, normalisers


class CandidateWriter(TokenPerActionWriter[CandidateOptions]):
    """An action is the rank of one of the LM's k likeliest tokens.

    If no end of turn is among them, the likeliest one takes the last place, so that every reply
    can be ended at any time.
    """

    def observation_spaces(self) -> dict[str, spaces.Space[Any]]:
        """`logprobs`, `candidates` and `action_mask`."""
        k, vocabulary = self.options.k, self.rows.llm.vocab_size
        if k > vocabulary:
            raise OptionError(
                f"k must be at most the vocabulary of {self.rows.llm.name}, {vocabulary}, got {k}"
            )
        return {
            "logprobs": spaces.Box(-np.inf, 0.0, (k,), np.float32),
            "candidates": spaces.Box(0, vocabulary - 1, (k,), np.int64),
            "action_mask": spaces.MultiBinary(k),
        }

    def action_space(self) -> spaces.Discrete:
        """`Discrete(k)`."""
        return spaces.Discrete(self.options.k)

    def check(self, actions: Any) -> np.ndarray:
        """Ranks of candidates that the mask allows."""
        mask = self.observation["action_mask"]
        ranks = check_discrete(actions, len(mask), self.options.k, "candidate")
        masked = mask[np.arange(len(mask)), ranks] == 0
        if masked.any():
            row = int(masked.argmax())
            raise ValueError(
                f"action {ranks[row]} of row {row} is masked: with top_p={self.options.top_p} its "
                f"candidates are {np.flatnonzero(mask[row]).tolist()}; choose by "
                "observation['action_mask']"
            )
        return ranks

    def choose(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The chosen candidates."""
        rows = np.arange(len(actions))
        tokens = self.observation["candidates"][rows, actions]
        prior = self.observation["logprobs"][rows, actions].astype(np.float64)
        return tokens, self.hidden_state["own_logprobs"][rows, actions], prior

    def look(self, rows: np.ndarray, output: SlotOutput) -> None:
        """Finds the candidates."""
        normaliser = normalisers(output.logits, self.options.prior_temperature)  # [n, 2]
        self.require_finite(rows, normaliser)
        top, candidates = likeliest(output.logits, self.options.k)  # [n, k]
        top, candidates, ends = self._with_end_of_turn(output.logits, top.float(), candidates)
        prior = (top / self.options.prior_temperature - normaliser[:, 1:]).clamp(max=0.0)
        own = (top - normaliser[:, :1]).clamp(max=0.0)
        self.observation["candidates"][rows] = candidates.cpu().numpy()
        self.observation["logprobs"][rows] = prior.cpu().numpy()
        self.observation["action_mask"][rows] = self._mask(prior, ends).cpu().numpy()
        if len(rows) == len(self.rows.prompts):
            self.hidden_state["own_logprobs"] = own.cpu().numpy()
        else:
            self.hidden_state["own_logprobs"][rows] = own.cpu().numpy()

    @cached_property
    def _end_of_turn(self) -> torch.Tensor:
        """Tokens that end a turn, `[E]`."""
        llm = self.rows.llm
        return torch.tensor(sorted(llm.end_of_turn), dtype=torch.int64, device=llm.device)

    def _with_end_of_turn(
        self, logits: torch.Tensor, top: torch.Tensor, candidates: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The candidates with an end of turn among them, and which they are, `[n, k]` bool."""
        end_of_turn = self._end_of_turn
        if not len(end_of_turn):
            return top, candidates, torch.zeros_like(candidates, dtype=torch.bool)
        ends = torch.isin(candidates, end_of_turn)
        missing = ~ends.any(dim=-1)
        best, which = logits[:, end_of_turn].max(dim=-1)
        top[:, -1] = torch.where(missing, best.float(), top[:, -1])
        candidates[:, -1] = torch.where(missing, end_of_turn[which], candidates[:, -1])
        ends[:, -1] |= missing
        return top, candidates, ends

    def _mask(self, prior: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """`[n, k]` int8, 1 in the nucleus of the prior and for ends of turn."""
        possible = ~torch.isneginf(prior)
        if self.options.top_p == 1.0:
            return possible.to(torch.int8)
        probability = prior.exp()
        before = probability.cumsum(dim=-1) - probability
        inside = before < self.options.top_p
        inside[:, 0] = True
        return ((inside | ends) & possible).to(torch.int8)


class CandidateGenerationVectorEnv(TextVectorEnv[CandidateOptions]):
    """Write a reply token by token, each chosen among the LM's k likeliest.

    ## Description

    A frozen language model reads a user's prompt. At every step it proposes its k likeliest next
    tokens, and the agent chooses one. When the reply is finished, a simulated user reacts to it.
    All rows advance in one batched forward; a row that ends begins its next episode while the
    others go on. Row i depends on its own seed alone and not on the number of rows, unless
    `prompt_order` is `sequential`.

    ## Action Space

    `Discrete(k)`: the rank of the candidate, 0 for the likeliest. One that `action_mask` leaves out
    is an error; with the default `top_p=1` it leaves out none.

    ## Observation Space

    `Dict` of

    | key | shape | dtype | what |
    |---|---|---|---|
    | `hidden` | `[d]` | float32 | hidden state of the LM at the last token, middle of the stack |
    | `prompt_hidden` | `[d]` | float32 | mean hidden state over the prompt's own tokens |
    | `logprobs` | `[k]` | float32 | log-probability at the prior temperature, nats |
    | `candidates` | `[k]` | int64 | token id of each candidate, likeliest first |
    | `action_mask` | `[k]` | int8 | 1 where a candidate may be chosen |
    | `progress` | `[1]` | float32 | share of the token limit that is used, in [0, 1] |
    | `emotion` | `[6]` | float32 | what the critic feels, in [0, 1] |
    | `fear` | `[2]` | float32 | the critic's phasic and tonic fear, in [0, 1] |

    An end of turn is always among the candidates: if it is none of the k likeliest, it takes the
    place of the last. Without a critic there are no `emotion` and `fear`.

    ## Rewards

    The user's feedback in [-1, 1] at the last step of a reply, 0 before. With `prior_weight` > 0,
    every step adds `prior_weight` * log p_LM(token) at the prior temperature. The terms are in
    `info["reward_terms"]`.

    ## Episode End

    Terminated when the agent chooses a token that ends the turn; truncated at `max_new_tokens`.

    ## Info

    At reset `prompt` (a `Prompt`). At the last step `transcript` (the reply), `feedback` (the
    score; nan if the user says nothing, which earns nothing), `feedback_given`, `components` (its
    parts), `stance`, `judged_episode` (the `Episode` that the user saw) and `token_fear` (total
    fear when each token was chosen).

    ## Arguments

    See `CandidateOptions`.

    ## Registered Configurations

    - `ErmGym/CandidateGeneration-v0`

    Source: project design, section 5. `prompt_hidden` pools the prompt, since the mean tells risky
    prompts from harmless ones better than the last position does.
    """

    options_type = CandidateOptions
    env_id = "ErmGym/CandidateGeneration-v0"

    def make_writer(self) -> CandidateWriter:
        """A `CandidateWriter`."""
        return CandidateWriter(self._rows, self._critic_rows, self.options)


def candidate_generation_vec(num_envs: int = 1, **options: Any) -> VectorEnv:
    """Entry point of `gym.make_vec`.

    Args:
        num_envs: Number of rows, >= 1.
        **options: Fields of `CandidateOptions`.
    """
    return CandidateGenerationVectorEnv.from_keywords(num_envs, options)


def candidate_generation_env(**options: Any) -> gym.Env:
    """Entry point of `gym.make`; the options are fields of `CandidateOptions`."""
    return make_single(CandidateGenerationVectorEnv, options)
