"""`ErmGym/CandidateGeneration-v0`: write a reply by choosing among the LM's likeliest tokens."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from erm_gym.envs.text.base import TextVectorEnv, check_discrete
from erm_gym.envs.text.making import make_single, make_vector
from erm_gym.envs.text.options import OptionError, TextEnvOptions
from erm_gym.llm import SlotOutput


class CandidateGenerationVectorEnv(TextVectorEnv):
    """Write a reply token by token, each chosen among the LM's k likeliest.

    ## Description

    A frozen language model reads a user's prompt. At every step it proposes its k likeliest next
    tokens, and the agent chooses one. When the reply is finished, a simulated user reacts to it.
    All rows advance in one batched forward; a row that ends begins its next episode while the
    others go on. Row i depends on its own seed alone and not on the number of rows, unless
    `prompt_order` is `sequential`.

    ## Action Space

    `Discrete(k)`: the rank of the candidate, 0 for the likeliest.

    ## Observation Space

    `Dict` of

    | key | shape | dtype | what |
    |---|---|---|---|
    | `hidden` | `[d]` | float32 | hidden state of the LM at the last token, middle of the stack |
    | `prompt_hidden` | `[d]` | float32 | mean hidden state over the prompt's own tokens |
    | `logprobs` | `[k]` | float32 | log-probability at the prior temperature, nats |
    | `candidates` | `[k]` | int64 | token id of each candidate, likeliest first |
    | `progress` | `[1]` | float32 | share of the token limit that is used, in [0, 1] |

    `CriticObservation` adds `emotion` `[6]` and `fear` `[2]`.

    ## Rewards

    The user's feedback in [-1, 1] at the last step of a reply, 0 before. With `prior_weight` > 0,
    every step adds `prior_weight` * log p_LM(token) at the prior temperature. The terms are in
    `info["reward_terms"]`.

    ## Episode End

    Terminated when the agent chooses a token that ends the turn; truncated at `max_new_tokens`.

    ## Info

    At reset `prompt` (a `Prompt`). At the last step `transcript` (the reply), `feedback` (the
    score), `components` (its parts), `stance` and `judged_episode` (the
    `Episode` that the user saw).

    ## Arguments

    See `TextEnvOptions`.

    ## Registered Configurations

    - `ErmGym/CandidateGeneration-v0`

    Source: project design, section 5. `prompt_hidden` pools the prompt, since the mean tells risky
    prompts from harmless ones better than the last position does.
    """

    def __init__(self, num_envs: int = 1, options: TextEnvOptions | None = None) -> None:
        """As `TextVectorEnv`."""
        super().__init__(num_envs, options)
        k = self.options.k
        self._view["own_logprobs"] = np.zeros((num_envs, k), np.float32)  # at temperature 1

    def _make_spaces(self) -> tuple[spaces.Dict, spaces.Space[Any]]:
        k, v = self.options.k, self.llm.vocab_size
        if k > v:
            raise OptionError(f"k must be at most the vocabulary of {self.llm.name}, {v}, got {k}")
        common = self._common_spaces()
        observation = {
            "hidden": common["hidden"],
            "prompt_hidden": common["prompt_hidden"],
            "logprobs": spaces.Box(-np.inf, 0.0, (k,), np.float32),
            "candidates": spaces.Box(0, v - 1, (k,), np.int64),
            "progress": common["progress"],
        }
        return spaces.Dict(observation), spaces.Discrete(k)

    def _check_actions(self, actions: Any) -> np.ndarray:
        return check_discrete(actions, self.num_envs, self.options.k, "candidate")

    def _choose(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.arange(self.num_envs)
        tokens = self._observation["candidates"][rows, actions]
        prior = self._observation["logprobs"][rows, actions].astype(np.float64)
        return tokens, self._view["own_logprobs"][rows, actions], prior

    def _look(self, rows: np.ndarray, output: SlotOutput) -> None:
        logits = output.logits.float()
        top, candidates = logits.topk(self.options.k, dim=-1)  # [n, k]
        temperature = self.options.prior_temperature
        normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
        self._require_finite(rows, normaliser)
        prior = top / temperature - torch.logsumexp(logits / temperature, dim=-1, keepdim=True)
        own = top - normaliser
        self._observation["candidates"][rows] = candidates.cpu().numpy()
        self._observation["logprobs"][rows] = prior.clamp(max=0.0).cpu().numpy()
        self._view["own_logprobs"][rows] = own.clamp(max=0.0).cpu().numpy()


def candidate_generation_vec(num_envs: int = 1, **options: Any) -> VectorEnv:
    """Entry point of `gym.make_vec`; see `make_vector`."""
    return make_vector(CandidateGenerationVectorEnv, num_envs, options)


def candidate_generation_env(**options: Any) -> gym.Env:
    """Entry point of `gym.make`; see `make_single`."""
    return make_single(CandidateGenerationVectorEnv, options)
