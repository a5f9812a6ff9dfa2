"""`ErmGym/CandidateGeneration-v0`: write a reply by choosing among the LM's likeliest tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.single import SingleEnv
from erm_gym.envs.text.critic_observation import CriticObservation, load_critic
from erm_gym.envs.text.options import OptionError, TextEnvOptions
from erm_gym.feedback import Episode, Feedback, Prompt, load_prompts, make_user
from erm_gym.llm import FrozenLLM, SlotOutput, load_llm

Observation = dict[str, np.ndarray]
Infos = dict[str, Any]


class CandidateGenerationVectorEnv(VectorEnv):
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

    metadata: dict[str, Any] = {
        "render_modes": ["ansi"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "autoreset_modes": list(AutoresetMode),
    }

    def __init__(self, num_envs: int = 1, options: TextEnvOptions | None = None) -> None:
        """Loads the LM and the user.

        Args:
            num_envs: Number B of rows, >= 1.
            options: What the environment is made of; its `critic` is left to `CriticObservation`.

        Raises:
            OptionError: If there is no row, k exceeds the vocabulary, or a prompt leaves no room
                for a reply.
        """
        if num_envs < 1:
            raise OptionError(f"num_envs must be at least 1, got {num_envs}")
        self.options = options or TextEnvOptions()
        self.num_envs = num_envs
        self.render_mode = self.options.render_mode
        self.metadata = {**self.metadata, "autoreset_mode": self.options.autoreset_mode}
        self.llm = _resolve_llm(self.options)
        self.user = make_user(self.options.user, self.llm)
        default_split = "train" if self.options.prompts == "default" else "all"
        self.prompts = load_prompts(self.options.prompts).split(self.options.split or default_split)
        self._prompt_tokens = {
            prompt: self.llm.encode_prompt(prompt.text) for prompt in self.prompts
        }
        self._check_room()
        self._make_spaces()

        limit = self.options.max_new_tokens
        self._slots = self.llm.slots(num_envs)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._prompts: list[Prompt] = [self.prompts.prompts[0]] * num_envs
        self._seeds = np.zeros(num_envs, np.int64)
        self._episodes = np.zeros(num_envs, np.int64)  # begun, in sequential order
        self._tokens = np.zeros((num_envs, limit), np.int64)
        self._logprobs = np.zeros((num_envs, limit), np.float32)  # at temperature 1
        self._reply_hidden = np.zeros((num_envs, limit, self.llm.hidden_size), np.float32)
        self._lengths = np.zeros(num_envs, np.int64)
        self._prior_terms = np.zeros(num_envs)
        self._candidate_logprobs = np.zeros((num_envs, self.options.k), np.float32)
        self._observation = self._empty_observation()
        self._done = np.zeros(num_envs, bool)
        self._started = False
        self._closed = False

    def _check_room(self) -> None:
        if self.options.k > self.llm.vocab_size:
            raise OptionError(
                f"k must be at most the vocabulary of {self.llm.name}, {self.llm.vocab_size}, "
                f"got {self.options.k}"
            )
        longest = max(self._prompt_tokens.values(), key=len)
        room = self.llm.context_length - len(longest)
        if self.options.max_new_tokens > room:
            raise OptionError(
                f"max_new_tokens must be at most {room}: the longest prompt has {len(longest)} "
                f"tokens and {self.llm.name} reads {self.llm.context_length}; "
                f"got {self.options.max_new_tokens}"
            )

    def _make_spaces(self) -> None:
        d, k, v = self.llm.hidden_size, self.options.k, self.llm.vocab_size
        self.single_observation_space = spaces.Dict(
            {
                "hidden": spaces.Box(-np.inf, np.inf, (d,), np.float32),
                "prompt_hidden": spaces.Box(-np.inf, np.inf, (d,), np.float32),
                "logprobs": spaces.Box(-np.inf, 0.0, (k,), np.float32),
                "candidates": spaces.Box(0, v - 1, (k,), np.int64),
                "progress": spaces.Box(0.0, 1.0, (1,), np.float32),
            }
        )
        self.single_action_space = spaces.Discrete(k)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _empty_observation(self) -> Observation:
        space = self.observation_space
        assert isinstance(space, spaces.Dict)
        return {
            key: np.zeros(box.shape, box.dtype) for key, box in space.spaces.items() if box.shape
        }

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, Infos]:
        """Begins new episodes.

        Args:
            seed: Row i is seeded with `seed + i`, or with the i-th of a list; None goes on with
                the rows' generators.
            options: `{"reset_mask": [B] bool array}` resets those rows only.

        Returns:
            Observations of all rows, and infos of the rows that were reset.

        Raises:
            ValueError: If the mask has another shape or type, or no row in it.
        """
        self._require_open()
        mask = self._reset_mask(options)
        for row, value in enumerate(_row_seeds(seed, self.num_envs)):
            if value is not None and mask[row]:
                self._rngs[row] = np.random.default_rng(value)
                self._episodes[row] = 0
            elif not self._started:
                self._rngs[row] = np.random.default_rng()
        self._started = True
        infos: Infos = {}
        self._begin(np.flatnonzero(mask), infos)
        return self._copy_observation(), infos

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (self.num_envs,):
            raise ValueError(f"reset_mask must be a bool array of shape ({self.num_envs},)")
        if not mask.any():
            raise ValueError("reset_mask must name at least one row")
        if not self._started and not mask.all():
            raise ValueError("the first reset must be of all rows")
        return mask

    def step(self, actions: Any) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """Appends one candidate to every row.

        Args:
            actions: `[B]` integers in [0, k).

        Returns:
            Observations, rewards `[B]` float64, terminated `[B]`, truncated `[B]`, infos.

        Raises:
            ValueError: If the actions have another shape or type, or are out of range.
            UserError: If the user fails; the rows are left as they are.
        """
        self._require_open()
        if not self._started:
            raise RuntimeError("reset the environment before the first step")
        chosen = self._check_actions(actions)
        mode = self.metadata["autoreset_mode"]
        if mode == AutoresetMode.DISABLED and self._done.any():
            row = int(self._done.argmax())
            raise ValueError(
                f"row {row} has finished: reset it first with options={{'reset_mask': mask}}"
            )
        before = self._row_state()
        rewards, ended, full = self._advance(chosen)
        infos: Infos = {}
        finished = np.flatnonzero(ended | full)
        if len(finished):
            try:
                reactions = self._react(finished, ended)
            except Exception:
                self._restore_row_state(before)
                raise
            for row, info in reactions.items():
                rewards[row] += info["feedback"]
                if mode == AutoresetMode.SAME_STEP:
                    final = {"final_obs": self._row_observation(row), "final_info": info}
                    self._add_info(infos, final, row)
                else:
                    self._add_info(infos, info, row)
            if mode == AutoresetMode.SAME_STEP:
                self._begin(finished, infos)
        if self._done.any():  # NEXT_STEP: these rows begin anew in place of a step
            self._begin(np.flatnonzero(self._done), infos)
        self._done = np.zeros_like(ended) if mode == AutoresetMode.SAME_STEP else ended | full
        return self._copy_observation(), rewards, ended, full, infos

    def _advance(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Appends the chosen candidates; rewards without feedback, ends of turn, full rows."""
        running = ~self._done
        rows = np.flatnonzero(running)
        if not len(rows):
            nothing = np.zeros(self.num_envs, bool)
            return np.zeros(self.num_envs), nothing, nothing
        tokens, prior = self._append(chosen, running)
        ended = np.isin(tokens, list(self.llm.end_of_turn)) & running
        full = (self._lengths >= self.options.max_new_tokens) & running & ~ended
        output = self._slots.decode(torch.from_numpy(tokens), torch.from_numpy(running))
        self._observe(rows, output)
        self._reply_hidden[rows, self._lengths[rows] - 1] = self._observation["hidden"][rows]
        rewards = np.where(running, self.options.prior_weight * prior, 0.0)
        self._prior_terms += rewards
        return rewards, ended, full

    def _row_state(self) -> tuple[Any, ...]:
        """What a step changes, apart from what is written behind the rows' own lengths."""
        return (
            self._slots.lengths.clone(),
            self._lengths.copy(),
            self._prior_terms.copy(),
            self._candidate_logprobs.copy(),
            self._copy_observation(),
        )

    def _restore_row_state(self, state: tuple[Any, ...]) -> None:
        (
            self._slots.lengths,
            self._lengths,
            self._prior_terms,
            self._candidate_logprobs,
            self._observation,
        ) = state

    def _append(self, chosen: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Writes the chosen candidates down; their token ids and prior log-probabilities."""
        every = np.arange(self.num_envs)
        tokens = self._observation["candidates"][every, chosen]
        rows = np.flatnonzero(running)
        self._tokens[rows, self._lengths[rows]] = tokens[rows]
        self._logprobs[rows, self._lengths[rows]] = self._candidate_logprobs[rows, chosen[rows]]
        self._lengths[rows] += 1
        return tokens, self._observation["logprobs"][every, chosen].astype(np.float64)

    def _begin(self, rows: np.ndarray, infos: Infos) -> None:
        """Draws prompts for rows and prefills them."""
        for row in rows:
            self._prompts[row] = self._next_prompt(int(row))
            self._seeds[row] = self._rngs[row].integers(2**31)
            self._add_info(infos, {"prompt": self._prompts[row]}, row)
        self._lengths[rows] = 0
        self._prior_terms[rows] = 0.0
        self._done[rows] = False
        output = self._slots.prefill(
            rows.tolist(), [self._prompt_tokens[self._prompts[row]] for row in rows]
        )
        self._observation["prompt_hidden"][rows] = output.pooled.float().cpu().numpy()
        self._observe(rows, output, of_rows=True)

    def _next_prompt(self, row: int) -> Prompt:
        if self.options.prompt_order == "random":
            return self.prompts.sample(self._rngs[row])
        index = row + self.num_envs * int(self._episodes[row])
        self._episodes[row] += 1
        return self.prompts.prompts[index % len(self.prompts)]

    def _observe(self, rows: np.ndarray, output: SlotOutput, of_rows: bool = False) -> None:
        """Fills the observation of rows from a forward over all rows, or over these only."""
        index = slice(None) if of_rows else torch.from_numpy(rows)
        logits = output.logits[index].float()  # [n, V]
        top, candidates = logits.topk(self.options.k, dim=-1)  # [n, k]
        temperature = self.options.prior_temperature
        prior = top / temperature - torch.logsumexp(logits / temperature, dim=-1, keepdim=True)
        own = top - torch.logsumexp(logits, dim=-1, keepdim=True)
        self._observation["hidden"][rows] = output.hidden[index].float().cpu().numpy()
        self._observation["candidates"][rows] = candidates.cpu().numpy()
        self._observation["logprobs"][rows] = prior.clamp(max=0.0).cpu().numpy()
        self._observation["progress"][rows, 0] = self._lengths[rows] / self.options.max_new_tokens
        self._candidate_logprobs[rows] = own.clamp(max=0.0).cpu().numpy()

    def _react(self, finished: np.ndarray, ended: np.ndarray) -> dict[int, Infos]:
        """Asks the user about finished replies; the final info of every row."""
        episodes = [self._episode(row, bool(ended[row])) for row in finished]
        rng = np.random.default_rng(self._seeds[finished].tolist())
        answers: list[Feedback] = self.user(episodes, rng)
        return {
            int(row): {
                "transcript": episode.reply,
                "prompt": episode.prompt,
                "judged_episode": episode,
                "feedback": float(answer.score),
                "stance": answer.stance,
                "components": {name: float(part) for name, part in answer.components.items()},
                "reward_terms": {
                    "feedback": float(answer.score),
                    "prior": float(self._prior_terms[row]),
                },
            }
            for row, episode, answer in zip(finished, episodes, answers, strict=True)
        }

    def _episode(self, row: int, ended: bool) -> Episode:
        length = self._lengths[row]
        tokens = self._tokens[row, :length].copy()
        spoken = length - 1 if ended else length  # the end of the turn is not part of the text
        return Episode(
            prompt=self._prompts[row],
            reply=self.llm.decode(tokens[:spoken].tolist()),
            tokens=tokens,
            logprobs=self._logprobs[row, :length].copy(),
            hidden=self._reply_hidden[row, :spoken].copy(),
            llm_fingerprint=self.llm.fingerprint,
            seed=int(self._seeds[row]),
        )

    def _check_actions(self, actions: Any) -> np.ndarray:
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"actions must be {self.num_envs} integers, got dtype {array.dtype} and shape "
                f"{array.shape}"
            )
        outside = (array < 0) | (array >= self.options.k)
        if outside.any():
            row = int(outside.argmax())
            raise ValueError(
                f"action {array[row]} of row {row} is no candidate: there are {self.options.k}"
            )
        return array.astype(np.int64)

    def _row_observation(self, row: int) -> Observation:
        return {key: value[row].copy() for key, value in self._observation.items()}

    def _copy_observation(self) -> Observation:
        return {key: value.copy() for key, value in self._observation.items()}

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the environment is closed; make a new one")

    def render(self) -> tuple[str, ...] | None:
        """Prompt and reply so far of every row, if `render_mode` is `ansi`."""
        if self.render_mode is None:
            return None
        return tuple(
            f"{prompt.text}\n  > {self.llm.decode(tokens[:length].tolist())}"
            for prompt, tokens, length in zip(
                self._prompts, self._tokens, self._lengths, strict=True
            )
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Forgets the KV cache."""
        self._closed = True
        self._slots = self.llm.slots(1)


def candidate_generation_vec(num_envs: int = 1, **options: Any) -> VectorEnv:
    """Entry point of `gym.make_vec`: the environment, with its critic unless `critic` is None."""
    parsed = TextEnvOptions.from_keywords(**options)
    env = CandidateGenerationVectorEnv(num_envs, parsed)
    if parsed.critic is None:
        return env
    if isinstance(parsed.critic, EmotionalCritic):
        return CriticObservation(env, parsed.critic)
    return CriticObservation(env, load_critic(parsed.critic, env.llm))


def candidate_generation_env(**options: Any) -> gym.Env:
    """Entry point of `gym.make`: the vector environment with one row."""
    options = {**options, "autoreset_mode": AutoresetMode.DISABLED}
    return SingleEnv(candidate_generation_vec(1, **options))


def _resolve_llm(options: TextEnvOptions) -> FrozenLLM:
    if isinstance(options.llm, str):
        return load_llm(options.llm, dtype=options.dtype, device=options.device)
    return options.llm


def _row_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + row for row in range(num_envs)]
    if len(seed) != num_envs:
        raise ValueError(f"a list of seeds needs one per row, {num_envs}, got {len(seed)}")
    return list(seed)
