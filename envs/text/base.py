"""What all text environments share: rows that begin, write, are judged, and begin anew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from erm_gym.envs.text.options import OptionError, TextEnvOptions
from erm_gym.envs.text.rows import RowsSnapshot, TextRows
from erm_gym.feedback import Feedback, load_prompts, make_user
from erm_gym.llm import FrozenLLM, SlotOutput, load_llm

Observation = dict[str, np.ndarray]
Infos = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TextSnapshot:
    """The whole state of a text environment, independent of what happens to it later."""

    rows: RowsSnapshot
    """Texts, KV cache, generators and prompts."""
    view: dict[str, Any]
    """What is seen and what is due: observation, candidates, rewards so far, finished rows."""


class TextVectorEnv(VectorEnv, ABC):
    """A vector environment in which every row writes a reply to a prompt, token by token.

    Subclasses say what is observed, what an action is, and which token it stands for.
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
            OptionError: If there is no row, an option does not fit the LM, or a prompt leaves no
                room for a reply.
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
        self._rows = TextRows(
            self.llm,
            self.prompts,
            num_envs,
            self.options.max_new_tokens,
            sequential=self.options.prompt_order == "sequential",
        )
        self._check_room()
        self.single_observation_space, self.single_action_space = self._make_spaces()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._view: dict[str, Any] = {
            "observation": {
                key: np.zeros((num_envs, *box.shape), box.dtype)
                for key, box in self.single_observation_space.spaces.items()
                if box.shape is not None
            },
            "prior_terms": np.zeros(num_envs),  # reward for fluent text in this episode
            "done": np.zeros(num_envs, bool),  # rows that wait for a reset
        }
        self._started = False
        self._closed = False

    @abstractmethod
    def _make_spaces(self) -> tuple[spaces.Dict, spaces.Space[Any]]:
        """Observation and action space of one row; checks the options that they depend on."""

    @abstractmethod
    def _check_actions(self, actions: Any) -> np.ndarray:
        """Actions in the shape and type that `_choose` wants, or a ValueError."""

    @abstractmethod
    def _choose(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The token of every action, and its log-probability under the LM and under the prior.

        All `[B]`: int64, float32 at temperature 1, and float64 at the prior temperature.
        """

    @abstractmethod
    def _look(self, rows: np.ndarray, output: SlotOutput) -> None:
        """Fills what only this environment shows of n rows, from what the LM says there."""

    @property
    def _observation(self) -> Observation:
        observation: Observation = self._view["observation"]
        return observation

    def _common_spaces(self) -> dict[str, spaces.Space[Any]]:
        d = self.llm.hidden_size
        return {
            "hidden": spaces.Box(-np.inf, np.inf, (d,), np.float32),
            "prompt_hidden": spaces.Box(-np.inf, np.inf, (d,), np.float32),
            "progress": spaces.Box(0.0, 1.0, (1,), np.float32),
        }

    def _check_room(self) -> None:
        longest = max(map(len, self._rows.prompt_tokens.values()))
        room = self.llm.context_length - longest
        if self.options.max_new_tokens > room:
            raise OptionError(
                f"max_new_tokens must be at most {room}: the longest prompt has {longest} "
                f"tokens and {self.llm.name} reads {self.llm.context_length}; "
                f"got {self.options.max_new_tokens}"
            )

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
            if (value is not None and mask[row]) or not self._started:
                self._rows.seed(row, value)
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
        """Acts in every row.

        Args:
            actions: One action per row.

        Returns:
            Observations, rewards `[B]` float64, terminated `[B]`, truncated `[B]`, infos.

        Raises:
            ValueError: If the actions have another shape or type, or are out of range.
            UserError: If the user fails.
            FloatingPointError: If the LM's logits are not finite. After any of these errors the
                rows are as they were before the step, unless it came from reading the next prompt.
        """
        self._require_open()
        if not self._started:
            raise RuntimeError("reset the environment before the first step")
        chosen = self._check_actions(actions)
        mode, done = self.metadata["autoreset_mode"], self._view["done"]
        if mode == AutoresetMode.DISABLED and done.any():
            raise ValueError(
                f"row {int(done.argmax())} has finished: reset it first with "
                "options={'reset_mask': mask}"
            )
        mark, view = self._rows.mark(), _copied(self._view)
        try:
            rewards, ended, full = self._advance(chosen)
            finished = np.flatnonzero(ended | full)
            reactions = self._react(finished, ended)
        except Exception:
            self._rows.go_back(mark)
            self._view = view
            raise
        infos: Infos = {}
        for row, info in reactions.items():
            rewards[row] += info["feedback"]
            if mode == AutoresetMode.SAME_STEP:
                final = {"final_obs": self._row_observation(row), "final_info": info}
                self._add_info(infos, final, row)
            else:
                self._add_info(infos, info, row)
        if len(finished) and mode == AutoresetMode.SAME_STEP:
            self._begin(finished, infos)
        if done.any():  # NEXT_STEP: these rows begin anew in place of a step
            self._begin(np.flatnonzero(done), infos)
        self._view["done"] = (
            np.zeros(self.num_envs, bool) if mode == AutoresetMode.SAME_STEP else ended | full
        )
        return self._copy_observation(), rewards, ended, full, infos

    def _advance(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Writes the chosen tokens; rewards without feedback, ends of turn, full rows."""
        running = ~self._view["done"]
        if not running.any():
            nothing = np.zeros(self.num_envs, bool)
            return np.zeros(self.num_envs), nothing, nothing
        tokens, own, prior = self._choose(chosen)
        output = self._rows.append(tokens, own, running)
        ended = np.isin(tokens, list(self.llm.end_of_turn)) & running
        full = (self._rows.state.lengths >= self.options.max_new_tokens) & running & ~ended
        self._see(np.flatnonzero(running), output)
        rewards = np.where(running, self.options.prior_weight * prior, 0.0)
        self._view["prior_terms"] += rewards
        return rewards, ended, full

    def _begin(self, rows: np.ndarray, infos: Infos) -> None:
        """Begins new episodes in rows."""
        output = self._rows.begin(rows)
        self._view["prior_terms"][rows] = 0.0
        self._view["done"][rows] = False
        self._observation["prompt_hidden"][rows] = self._rows.state.prompt_hidden[rows]
        self._see(rows, output)
        for row in rows:
            self._add_info(infos, {"prompt": self._rows.prompts[row]}, row)

    def _see(self, rows: np.ndarray, output: SlotOutput) -> None:
        """Fills the observation of n rows from where they are and what the LM says there."""
        state = self._rows.state
        self._observation["hidden"][rows] = state.hidden[rows]
        self._observation["progress"][rows, 0] = state.lengths[rows] / self.options.max_new_tokens
        self._look(rows, output)

    def _require_finite(self, rows: np.ndarray, normaliser: torch.Tensor) -> None:
        """Raises if the LM's next-token distribution of a row is broken.

        Args:
            rows: The n rows.
            normaliser: `[n]` or `[n, 1]` logsumexp of their logits.
        """
        broken = ~torch.isfinite(normaliser.flatten())
        if bool(broken.any()):
            row = int(rows[int(broken.nonzero()[0])])
            raise FloatingPointError(
                f"the logits of {self.llm.name} are not finite in row {row}, after "
                f"{self._rows.text(row)[-40:]!r}; try dtype='float32', or look for damaged weights"
            )

    def _react(self, finished: np.ndarray, ended: np.ndarray) -> dict[int, Infos]:
        """Asks the user about finished replies; the final info of every row."""
        if not len(finished):
            return {}
        episodes = [self._rows.episode(row, ended=bool(ended[row])) for row in finished]
        rng = np.random.default_rng(self._rows.state.seeds[finished].tolist())
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
                    "prior": float(self._view["prior_terms"][row]),
                },
            }
            for row, episode, answer in zip(finished, episodes, answers, strict=True)
        }

    def snapshot(self) -> TextSnapshot:
        """Copies the whole state: KV cache, generators, prompts, texts, observation.

        Returns:
            What `restore` goes back to, any number of times.

        Raises:
            RuntimeError: If nothing has begun yet.
        """
        self._require_open()
        if not self._started:
            raise RuntimeError("reset the environment before the first snapshot")
        return TextSnapshot(rows=self._rows.snapshot(), view=_copied(self._view))

    def restore(self, snapshot: TextSnapshot) -> Observation:
        """Goes back to a snapshot of this environment, or of one with the same options.

        Args:
            snapshot: What `snapshot` returned.

        Returns:
            The observations of that moment.
        """
        self._require_open()
        self._rows.restore(snapshot.rows)
        self._view = _copied(snapshot.view)
        self._started = True
        return self._copy_observation()

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
            f"{prompt.text}\n  > {self._rows.text(row)}"
            for row, prompt in enumerate(self._rows.prompts)
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Forgets the KV cache."""
        self._closed = True
        self._rows.close()


def check_discrete(actions: Any, num_envs: int, limit: int, what: str) -> np.ndarray:
    """Actions `[B]` as int64.

    Args:
        actions: What an agent gave.
        num_envs: Number B of rows.
        limit: What they must be below.
        what: What an action is the number of, in words for the message.

    Raises:
        ValueError: If they have another shape or type, or are out of range.
    """
    array = np.asarray(actions)
    if array.shape != (num_envs,) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"actions must be {num_envs} integers, got dtype {array.dtype} and shape {array.shape}"
        )
    outside = (array < 0) | (array >= limit)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(f"action {array[row]} of row {row} is no {what}: there are {limit}")
    return array.astype(np.int64)


def _copied(value: Any) -> Any:
    """Arrays in dictionaries, copied; tensors are never written into here and stay the same."""
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


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
