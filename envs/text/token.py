"""`ErmGym/TokenGeneration-v0`: write a reply with the whole vocabulary."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from erm_gym.envs.text.base import TextVectorEnv, check_discrete
from erm_gym.envs.text.making import make_single, make_vector
from erm_gym.envs.text.options import TextEnvOptions
from erm_gym.llm import SlotOutput


class TokenGenerationVectorEnv(TextVectorEnv):
    """Write a reply token by token, each any token of the vocabulary.

    ## Description

    As `ErmGym/CandidateGeneration-v0`, but nothing is chosen for the agent beforehand. The
    distribution of the language model would be `[V]` numbers per row and is not in the
    observation; `last_hidden` times the frozen LM head is.

    ## Action Space

    `Discrete(V)`: a token id.

    ## Observation Space

    `Dict` of

    | key | shape | dtype | what |
    |---|---|---|---|
    | `hidden` | `[d]` | float32 | hidden state of the LM at the last token, middle of the stack |
    | `prompt_hidden` | `[d]` | float32 | mean hidden state over the prompt's own tokens |
    | `last_hidden` | `[d]` | float32 | hidden state that the LM head makes the logits from |
    | `progress` | `[1]` | float32 | share of the token limit that is used, in [0, 1] |

    `CriticObservation` adds `emotion` `[6]` and `fear` `[2]`.

    ## Rewards

    The user's feedback in [-1, 1] at the last step of a reply, 0 before. With `prior_weight` > 0,
    every step adds `prior_weight` * log p_LM(token) at the prior temperature. The terms are in
    `info["reward_terms"]`.

    ## Episode End

    Terminated when the agent chooses a token that ends the turn; truncated at `max_new_tokens`.

    ## Info

    As in `ErmGym/CandidateGeneration-v0`.

    ## Arguments

    See `TextEnvOptions`; `k` changes nothing.

    ## Registered Configurations

    - `ErmGym/TokenGeneration-v0`

    Source: project design, section 5.
    """

    def __init__(self, num_envs: int = 1, options: TextEnvOptions | None = None) -> None:
        """As `TextVectorEnv`."""
        super().__init__(num_envs, options)
        self._view["normalisers"] = np.zeros((num_envs, 2), np.float32)  # temperature 1 and prior

    def _make_spaces(self) -> tuple[spaces.Dict, spaces.Space[Any]]:
        common = self._common_spaces()
        observation = {
            "hidden": common["hidden"],
            "prompt_hidden": common["prompt_hidden"],
            "last_hidden": spaces.Box(-np.inf, np.inf, (self.llm.hidden_size,), np.float32),
            "progress": common["progress"],
        }
        return spaces.Dict(observation), spaces.Discrete(self.llm.vocab_size)

    def _check_actions(self, actions: Any) -> np.ndarray:
        return check_discrete(actions, self.num_envs, self.llm.vocab_size, "token")

    def _choose(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        logits = self._view["logits"]  # [B, V]
        index = torch.from_numpy(actions).to(logits.device)[:, None]
        chosen = logits.gather(1, index).squeeze(1).float().cpu().numpy()  # [B]
        own = chosen - self._view["normalisers"][:, 0]
        prior = chosen / self.options.prior_temperature - self._view["normalisers"][:, 1]
        return actions, np.minimum(own, 0.0), np.minimum(prior, 0.0).astype(np.float64)

    def _look(self, rows: np.ndarray, output: SlotOutput) -> None:
        logits = output.logits.float()
        own = torch.logsumexp(logits, dim=-1)  # [n]
        self._require_finite(rows, own)
        prior = torch.logsumexp(logits / self.options.prior_temperature, dim=-1)
        self._observation["last_hidden"][rows] = output.last.float().cpu().numpy()
        self._view["normalisers"][rows] = torch.stack([own, prior], dim=-1).cpu().numpy()
        if len(rows) == self.num_envs:
            self._view["logits"] = output.logits
        else:
            index = torch.from_numpy(rows).to(logits.device)
            self._view["logits"] = self._view["logits"].index_copy(0, index, output.logits)


def token_generation_vec(num_envs: int = 1, **options: Any) -> VectorEnv:
    """Entry point of `gym.make_vec`; see `make_vector`."""
    return make_vector(TokenGenerationVectorEnv, num_envs, options)


def token_generation_env(**options: Any) -> gym.Env:
    """Entry point of `gym.make`; see `make_single`."""
    return make_single(TokenGenerationVectorEnv, options)
