"""Recordings of text environments: read, shown, and simulated again."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from erm_gym.envs.text import EpisodeStart, RecordingError, TextVectorEnv
from erm_gym.envs.text.recording import FORMAT, ONLY_HERE, prompts_of
from erm_gym.envs.text.rendering import Line
from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.storage import read_lines
from erm_gym.feedback import Episode, Feedback


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What `RecordTranscripts` wrote down."""

    path: Path
    """The file."""
    header: dict[str, Any]
    """What the environment was made of."""
    events: list[dict[str, Any]]
    """Resets, steps and replies, in their order."""

    @property
    def replies(self) -> list[dict[str, Any]]:
        """The finished replies, in their order."""
        return [event["reply"] for event in self.events if "reply" in event]

    def conversations(self) -> list[list[dict[str, Any]]]:
        """The finished replies of each episode, in the order of the first one."""
        groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for reply in self.replies:
            groups.setdefault((reply["row"], reply["episode"]), []).append(reply)
        return list(groups.values())


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How a recording compares with what was simulated again."""

    replies: int
    """Replies of the recording."""
    equal: int
    """Those with the same tokens now."""
    first_difference: str | None
    """Where the first other one is, in words."""


def read_recording(path: str | Path) -> Recording:
    """Reads a recording; a torn last line is left out.

    Args:
        path: A file that `RecordTranscripts` wrote.

    Raises:
        RecordingError: If the file is missing, damaged, or no recording.
    """
    try:
        lines = read_lines(Path(path))
    except RunError as error:
        raise RecordingError(str(error)) from error
    if not lines or lines[0].get("format") != FORMAT:
        raise RecordingError(
            f"{path} is no recording of this version; record one with "
            "erm_gym.envs.text.RecordTranscripts"
        )
    return Recording(path=Path(path), header=lines[0], events=lines[1:])


def lines_of(conversation: Sequence[dict[str, Any]]) -> list[Line]:
    """The replies of one episode as a transcript, with the fear at every token."""
    lines = []
    for reply in conversation:
        lines.append(Line(speaker="user", tokens=(reply["said"],)))
        texts, fear = tuple(reply["token_texts"]), tuple(reply["fear"])
        lines.append(Line(speaker="assistant", tokens=texts, fear=fear))
    farewell = conversation[-1]["feedback"]["says"]
    if farewell:
        lines.append(Line(speaker="user", tokens=(farewell,)))
    return lines


def replay(
    recording: Recording,
    *,
    llm: str | None = None,
    critic: str | None = None,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Simulates a recording again: the same environment, resets and actions.

    The user's feedback is taken from the recording and not asked for again, so that it needs no
    user. The numbers of a simulation depend on machine and threads; in half precision two likely
    tokens can change places between them.

    Args:
        recording: What was recorded.
        llm: The LM, if it has another name here.
        critic: The critic, if it was no name.
        device: Where the LM runs, if it is another place.
        progress: Called with the steps done and all steps.

    Returns:
        How the tokens compare.

    Raises:
        RecordingError: If the LM is another one, or what is needed has no name.
    """
    envs = _environment(recording, llm, critic, device)
    written: list[list[int]] = []
    stopped: Exception | None = None
    same_step = envs.metadata["autoreset_mode"].value == "SameStep"
    try:
        for number, event in enumerate(recording.events):
            if "reset" in event:
                envs.replay([start and EpisodeStart(**start) for start in event["reset"]])
            elif "step" in event:
                actions = np.array(event["step"])
                if actions.dtype == np.float64:
                    actions = actions.astype(np.float32)
                try:
                    *_, infos = envs.step(actions)
                except (ValueError, RuntimeError, FloatingPointError) as error:
                    stopped = error  # what differed before made this step impossible
                    break
                own = _replies(infos)
                written += own + (_replies(infos.get("final_info", {})) if same_step else [])
            if progress is not None:
                progress(number + 1, len(recording.events))
    finally:
        envs.close()
    recorded = recording.replies
    differing = [
        reply
        for index, reply in enumerate(recorded)
        if index >= len(written) or written[index] != reply["tokens"]
    ]
    place = None
    if differing:
        first = differing[0]
        place = f"row {first['row']}, episode {first['episode']}, turn {first['turn']}"
        place += f" ({stopped})" if stopped else ""
    return Replay(
        replies=len(recorded), equal=len(recorded) - len(differing), first_difference=place
    )


def _replies(infos: dict[str, Any]) -> list[list[int]]:
    """Tokens of the replies that infos tell of, by row."""
    rows = np.flatnonzero(infos.get("_judged_episode", []))
    return [infos["judged_episode"][row].tokens.tolist() for row in rows]


def _environment(
    recording: Recording, llm: str | None, critic: str | None, device: str | None
) -> TextVectorEnv[Any]:
    header = recording.header
    options = {**header["options"], "render_mode": None, "user": _RecordedUser(recording)}
    options["prompts"] = prompts_of(options["prompts"])
    if llm is not None:
        options["llm"] = llm
    if device is not None:
        options["device"] = device
    if critic is not None:
        options["critic"] = critic
    elif options["critic"] == ONLY_HERE:
        raise RecordingError(
            f"the critic of {recording.path} had no name; save it with save_pretrained and give "
            "its folder as critic"
        )
    envs = gym.make_vec(f"erm_gym:{header['env_id']}", num_envs=header["num_envs"], **options)
    inner = envs.unwrapped
    assert isinstance(inner, TextVectorEnv)
    if inner.llm.fingerprint != header["llm_fingerprint"]:
        raise RecordingError(
            f"{recording.path} was recorded with the LM {header['llm_fingerprint']}, but "
            f"{inner.llm.name!r} is {inner.llm.fingerprint}; give the right one as llm"
        )
    return inner


class _RecordedUser:
    """Answers as the user of a recording did."""

    converses = True

    def __init__(self, recording: Recording) -> None:
        # Equal seeds may come again; the answers to equal replies come in their order.
        self._answers: dict[tuple[Any, ...], deque[Feedback]] = defaultdict(deque)
        for reply in recording.replies:
            key = reply["seed"], reply["turn"], tuple(reply["tokens"])
            self._answers[key].append(Feedback(**reply["feedback"]))

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """What was answered then; to a reply that there was not, that the user leaves."""
        return [self._answer(episode) for episode in episodes]

    def _answer(self, episode: Episode) -> Feedback:
        answers = self._answers.get(
            (episode.seed, len(episode.turns), tuple(episode.tokens.tolist()))
        )
        return answers.popleft() if answers else Feedback(score=0.0, leaves=True)
