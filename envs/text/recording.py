"""A wrapper that writes what is said to a file, with all that it takes to simulate it again."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text.base import TextVectorEnv
from erm_gym.feedback import Prompt, PromptPool
from erm_gym.llm import FrozenLLM
from erm_gym.llm.text import token_texts

FORMAT = "erm-gym recording 1"
"""First entry of a recording: what its lines mean."""
ONLY_HERE = "<an object of the program>"
"""Stands for an option that is no name and no number."""


class RecordingError(ValueError):
    """A recording cannot be written, read or simulated again; the message names the fix."""


class RecordTranscripts(VectorWrapper):
    """Writes every reply, and every action, of a text environment to a file of JSON Lines.

    The first line holds what the environment is made of. Every reset and every step is one line,
    every finished reply another, in the order in which they happened. Each line is on the disk
    before the step returns, so that whatever stops the program leaves a recording of all that
    happened before. `erm-gym replay FILE` shows the replies and simulates them again.

    What `restore` or `replay` of the environment below does is not recorded.

    >>> import gymnasium as gym, tempfile, numpy as np
    >>> from erm_gym.envs.text import RecordTranscripts
    >>> envs = gym.make_vec("erm_gym:ErmGym/CandidateGeneration-v0", num_envs=2, llm="tiny")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     envs = RecordTranscripts(envs, f"{folder}/recording.jsonl")
    ...     _ = envs.reset(seed=0)
    ...     _ = envs.step(np.array([0, 1]))
    ...     len(envs.path.read_text().splitlines())
    3

    Attributes:
        path: The file.
    """

    def __init__(self, env: VectorEnv, path: str | Path) -> None:
        """Makes the file, and writes its first line.

        Args:
            env: A text environment, wrapped or not.
            path: Where to write; missing folders are made.

        Raises:
            RecordingError: If the file exists or cannot be written, the environment is another, or
                its critic learns.
        """
        super().__init__(env)
        if not isinstance(env.unwrapped, TextVectorEnv):
            raise RecordingError(f"only text environments can be recorded, not {env}")
        if env.unwrapped.online is not None:
            raise RecordingError(
                "what a critic learns while acting is no part of a recording; save it with "
                "critic.save_pretrained(folder), and record an environment with critic=folder"
            )
        self._text_env: TextVectorEnv[Any] = env.unwrapped
        self._mode = env.metadata["autoreset_mode"]
        self._waiting = np.zeros(env.num_envs, bool)
        self._episodes = np.full(env.num_envs, -1)  # numbers of the episodes that rows are in
        self._broken = False
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb", buffering=0)
        except FileExistsError:
            raise RecordingError(f"{path} exists; delete it or record into another file") from None
        except OSError as error:
            raise RecordingError(f"cannot write {path}: {error.strerror}") from error
        self._write({"format": FORMAT, **_description(self._text_env)})

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Resets the environment."""
        self._require_whole()
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        begun = infos["_prompt"]
        self._episodes[begun] += 1
        self._waiting &= ~begun
        starts = [
            asdict(self._text_env.episode_start(row)) if begun[row] else None
            for row in range(self.num_envs)
        ]
        self._write({"reset": starts})
        return observations, infos

    def step(
        self, actions: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps the environment."""
        self._require_whole()
        before = self._text_env.steps_taken
        try:
            observations, rewards, terminated, truncated, infos = self.env.step(actions)
        except BaseException:
            # A step that was taken, after which the next prompt could not be read, has no result.
            self._broken = self._text_env.steps_taken != before
            raise
        done = terminated | truncated
        lines: list[dict[str, Any]] = [{"step": np.asarray(actions).tolist()}]
        own = infos.get("_judged_episode", np.zeros(self.num_envs, bool))
        lines.extend(
            self._reply(infos, row, last=bool(done[row])) for row in np.flatnonzero(own).tolist()
        )
        if self._mode == AutoresetMode.SAME_STEP:
            lines.extend(
                self._reply(infos["final_info"], row, last=True)
                for row in np.flatnonzero(done).tolist()
            )
            self._episodes[done] += 1
        else:
            if self._mode == AutoresetMode.NEXT_STEP:
                self._episodes[self._waiting] += 1
            self._waiting = done
        self._write(*lines)
        return observations, rewards, terminated, truncated, infos

    def close(self, **kwargs: Any) -> None:
        """Closes the file and the environment."""
        self._file.close()
        super().close(**kwargs)

    def _require_whole(self) -> None:
        if self._broken:
            raise RecordingError(
                f"{self.path} ends where a step failed after it was taken; what was recorded "
                "before is whole. Record into another file"
            )

    def _reply(self, infos: dict[str, Any], row: int, *, last: bool) -> dict[str, Any]:
        """One finished reply, as a line."""
        episode, feedback = infos["judged_episode"][row], infos["user_feedback"][row]
        tokens = episode.tokens.tolist()
        llm = self._text_env.llm
        line = {
            "reply": {
                "row": row,
                "episode": int(self._episodes[row]),
                "turn": len(episode.turns),
                "prompt": asdict(episode.prompt),
                "seed": episode.seed,
                "said": episode.said,
                "text": episode.reply,
                "tokens": tokens,
                "token_texts": token_texts(tokens, llm.decode(tokens), llm),
                "fear": list(infos["token_fear"][row]),
                "feedback": {
                    "score": float(feedback.score),
                    "components": {name: float(x) for name, x in feedback.components.items()},
                    "stance": feedback.stance,
                    "says": feedback.says,
                    "leaves": bool(feedback.leaves),
                    "given": bool(feedback.given),
                    "verdict": None if feedback.verdict is None else float(feedback.verdict),
                },
                "last": last,
            }
        }
        if last:
            terms = infos["reward_terms"]
            line["reply"]["reward_terms"] = {
                name: float(terms[name][row]) for name in terms if not name.startswith("_")
            }
        return line

    def _write(self, *lines: dict[str, Any]) -> None:
        """Appends whole lines, or nothing."""
        data = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode()
        position = self._file.tell()
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "no space left on the disk")
        except OSError as error:
            self._file.truncate(position)
            self._file.seek(position)
            self._broken = True
            raise RecordingError(
                f"cannot write {self.path}: {error.strerror}; what was recorded before is whole"
            ) from error


def _description(env: TextVectorEnv[Any]) -> dict[str, Any]:
    """What an environment is made of, in values that JSON has."""
    options: dict[str, Any] = {}
    for field in fields(env.options):
        value = getattr(env.options, field.name)
        if isinstance(value, FrozenLLM):
            value = value.name
        elif isinstance(value, EmotionalCritic):
            value = ONLY_HERE
        elif field.name == "prompts" and not isinstance(value, (str, Path)):
            pool = value if isinstance(value, PromptPool) else env.prompts
            value = [asdict(prompt) for prompt in pool]
        elif isinstance(value, AutoresetMode):
            value = value.value
        elif isinstance(value, Path):
            value = str(value)
        elif not isinstance(value, (str, int, float, bool, type(None))):
            value = ONLY_HERE
        options[field.name] = value
    # Those of an LM given as an object are its own.
    options["dtype"] = str(env.llm.dtype).removeprefix("torch.")
    options["device"] = str(env.llm.device)
    return {
        "env_id": env.env_id,
        "num_envs": env.num_envs,
        "options": options,
        "llm_fingerprint": env.llm.fingerprint,
        "user": env.user.name,
    }


def prompts_of(description: Any) -> Any:
    """The option `prompts` from what a recording says of it."""
    if isinstance(description, list):
        return [Prompt(**values) for values in description]
    return description
