"""`ErmGym/TokenGeneration-v0`: write a reply with the whole vocabulary."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from erm_gym.envs.text.base import TextVectorEnv
from erm_gym.envs.text.options import TextEnvOptions
from erm_gym.envs.text.single import make_single
from erm_gym.envs.text.writer import TokenPerActionWriter, check_discrete
from erm_gym.llm import SlotOutput
from erm_gym.llm.distribution import normalisers


class TokenWriter(TokenPerActionWriter[TextEnvOptions]):
    """An action is a token of the vocabulary."""

    def observation_spaces(self) -> dict[str, spaces.Space[Any]]:
        """`last_hidden`."""
        shape = (self.rows.llm.hidden_size,)
        return {"last_hidden": spaces.Box(-np.inf, np.inf, shape, np.float32)}

    def action_space(self) -> spaces.Discrete:
        """`Discrete(V)`."""
        return spaces.Discrete(self.rows.llm.vocab_size)

    def check(self, actions: Any) -> np.ndarray:
        """Token ids."""
        llm = self.rows.llm
        return check_discrete(actions, len(self.rows.prompts), llm.vocab_size, "token")

    def choose(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens themselves."""
        logits, normaliser = self.hidden_state["logits"], self.hidden_state["normalisers"]
        index = torch.from_numpy(actions).to(logits.device)[:, None]
        chosen = logits.gather(1, index).squeeze(1).float().cpu().numpy()  # [B]
        own = chosen - normaliser[:, 0]
        prior = chosen / self.options.prior_temperature - normaliser[:, 1]
        return actions, np.minimum(own, 0.0), np.minimum(prior, 0.0).astype(np.float64)

    def look(self, rows: np.ndarray, output: SlotOutput) -> None:
        """Keeps the logits for the next action."""
        normaliser = normalisers(output.logits, self.options.prior_temperature)  # [n, 2]
        self.require_finite(rows, normaliser)
        self.observation["last_hidden"][rows] = output.last.float().cpu().numpy()
        if len(rows) == len(self.rows.prompts):
            self.hidden_state["logits"] = output.logits
            self.hidden_state["normalisers"] = normaliser.cpu().numpy()
        else:
            index = torch.from_numpy(rows).to(output.logits.device)
            logits = self.hidden_state["logits"]
            self.hidden_state["logits"] = logits.index_copy(0, index, output.logits)
            self.hidden_state["normalisers"][rows] = normaliser.cpu().numpy()


class TokenGenerationVectorEnv(TextVectorEnv[TextEnvOptions]):
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
    | `emotion` | `[6]` | float32 | what the critic feels, in [0, 1] |
    | `fear` | `[2]` | float32 | the critic's phasic and tonic fear, in [0, 1] |

    Without a critic there are no `emotion` and `fear`.

    ## Rewards

    The user's feedback in [-1, 1] at the last step of a reply, 0 before. With `prior_weight` > 0,
    every step adds `prior_weight` * log p_LM(token) at the prior temperature. The terms are in
    `info["reward_terms"]`.

    ## Episode End

    Terminated when the agent chooses a token that ends the turn; truncated at `max_new_tokens`.

    ## Info

    As in `ErmGym/CandidateGeneration-v0`.

    ## Arguments

    See `TextEnvOptions`.

    ## Registered Configurations

    - `ErmGym/TokenGeneration-v0`

    Source: project design, section 5.
    """

    options_type = TextEnvOptions
    env_id = "ErmGym/TokenGeneration-v0"

    def make_writer(self) -> TokenWriter:
        """A `TokenWriter`."""
        return TokenWriter(self._rows, self._critic_rows, self.options)


def token_generation_vec(num_envs: int = 1, **options: Any) -> VectorEnv:
    """Entry point of `gym.make_vec`.

    Args:
        num_envs: Number of rows, >= 1.
        **options: Fields of `TextEnvOptions`.
    """
    return TokenGenerationVectorEnv.from_keywords(num_envs, options)


def token_generation_env(**options: Any) -> gym.Env:
    """Entry point of `gym.make`; the options are fields of `TextEnvOptions`."""
    return make_single(TokenGenerationVectorEnv, options)
