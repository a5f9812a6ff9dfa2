"""What a training run writes down while it goes, as a Stable-Baselines3 callback."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from erm_gym.evaluation.canaries import measure_canaries
from erm_gym.evaluation.metrics import summarise
from erm_gym.evaluation.recorder import EpisodeRecorder
from erm_gym.evaluation.records import EpisodeRecord
from erm_gym.evaluation.storage import json_line, keep_lines_until, read_json, write_json

METRICS_FILE = "metrics.jsonl"
TRANSCRIPTS_FILE = "transcripts.jsonl"
COUNTS_FILE = "user_counts.json"
"""What the user has counted in the whole run. Where a resumed run drops lines of metrics, these
counts stay: what was asked after the checkpoint was asked all the same."""
TRAINED_STEPS = "trained_steps"
"""What a line of the transcripts adds to an `EpisodeRecord`: tokens of the run when it ended."""
WINDOW = 128
"""Episodes of a running mean."""
OFF_POLICY_INTERVAL = 640
"""Tokens between two lines of metrics for an agent without updates of a fixed size."""


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where a training run stands."""

    steps: int
    """Tokens so far, over all rows and including those before a resume."""
    total: int
    """Tokens that the run is to reach."""
    episodes: int
    """Replies so far."""
    feedback: float | None
    """Mean score over the last 128 replies, in [-1, 1]; None if none of them got feedback."""
    held_out: float | None = None
    """The same of the held-out user, which is not learned from; None without one."""
    tokens_per_second: float
    """Speed since the run started or went on."""
    seconds: float
    """Time spent on the run, including that before a resume."""


@dataclass(kw_only=True)
class RunState:
    """What a run has written down so far."""

    steps: int = 0
    """Tokens."""
    episodes: int = 0
    """Replies."""
    seconds: float = 0.0
    """Time spent."""
    user_counts: dict[str, int] = field(default_factory=dict)
    """What the user has counted, such as requests and skipped episodes; empty for most users."""
    window: deque[EpisodeRecord] = field(default_factory=lambda: deque(maxlen=WINDOW))
    """The last replies."""

    @property
    def feedback(self) -> float | None:
        """Mean score of the last replies."""
        scores = [record.score for record in self.window if record.given]
        return sum(scores) / len(scores) if scores else None

    @property
    def held_out(self) -> float | None:
        """Mean score that the held-out user gave to the last replies."""
        scores = [record.held_out for record in self.window if record.held_out is not None]
        return sum(scores) / len(scores) if scores else None


def restore_state(folder: Path, steps: int) -> RunState:
    """The state of a run at its checkpoint; what was written after it is dropped from the files.

    Counts of the user are kept: what it was asked after the checkpoint may have been paid for.

    Raises:
        RunError: If a file is damaged before its last line, or cannot be written.
    """
    metrics = keep_lines_until(folder / METRICS_FILE, "steps", steps)
    transcripts = keep_lines_until(folder / TRANSCRIPTS_FILE, TRAINED_STEPS, steps)
    state = RunState(steps=steps, episodes=len(transcripts))
    state.seconds = float(metrics[-1]["seconds"]) if metrics else 0.0
    if (folder / COUNTS_FILE).exists():
        state.user_counts = dict(read_json(folder / COUNTS_FILE))
    state.window.extend(EpisodeRecord.from_dict(line) for line in transcripts[-WINDOW:])
    return state


class TrainingLog(BaseCallback):
    """Appends transcripts and metrics, asks for checkpoints, and reports progress.

    Attributes:
        state: What has been written down; `state.steps` counts the step that is under way.
        boundary: Tokens at the last finished update: what a checkpoint stands for.
    """

    def __init__(
        self,
        folder: Path,
        recorder: EpisodeRecorder,
        state: RunState,
        *,
        total: int,
        checkpoint_every: int,
        save: Callable[[], None],
        progress: Callable[[TrainProgress], None] | None,
    ) -> None:
        """Prepares the log.

        Args:
            folder: Folder of the run.
            recorder: The environment that the agent learns in.
            state: Where the run stands.
            total: Tokens that it is to reach.
            checkpoint_every: Tokens between checkpoints.
            save: Writes a checkpoint.
            progress: Called after every step of the rows.
        """
        super().__init__()
        self.folder = folder
        self.recorder = recorder
        self.state = state
        self.boundary = state.steps
        self.total = total
        self.checkpoint_every = checkpoint_every
        self.save = save
        self.progress = progress
        self._logged = self._saved = self._begun_at = state.steps
        self._seconds_before = state.seconds
        self._counts_before = Counter(state.user_counts)
        self._began = time.perf_counter()

    def _on_rollout_start(self) -> None:
        self.boundary = self.num_timesteps
        checkpoint = self.boundary - self._saved >= self.checkpoint_every
        # A checkpoint has a line of its own, so that a resumed run knows its time.
        if checkpoint or self.boundary - self._logged >= self._interval():
            self.write_metrics()
        if checkpoint:
            self.save()
            self._saved = self.boundary

    def _on_step(self) -> bool:
        self.state.steps = self.num_timesteps
        finished = [record for _, record in self.recorder.drain()]
        for record in finished:
            line = {**record.to_dict(), TRAINED_STEPS: self.num_timesteps}
            self._append(TRANSCRIPTS_FILE, line)
        self.state.episodes += len(finished)
        self.state.window.extend(finished)
        if self.progress is not None:
            self.progress(self._progress())
        return True

    def write_metrics(self) -> None:
        """Appends a line of metrics over the last episodes; tensorboard gets the same."""
        now = self._progress()
        self._logged = now.steps
        line: dict[str, Any] = {"steps": now.steps, "episodes": now.episodes}
        if self.state.window:
            means = summarise(self.state.window)
            if means.feedback is not None:
                line["feedback"] = means.feedback
            line["careful_on_risky"] = means.careful_on_risky
            line["careful_on_harmless"] = means.careful_on_harmless
            line["degenerate"] = means.degenerate
            line["silent"] = means.silent
            line["held_out"] = means.held_out
            for name, value in list(line.items())[2:]:
                if value is not None:
                    self.logger.record(f"user/{name}", value)
            canaries = measure_canaries(self.state.window).to_dict()
            for name, value in canaries.items():
                if value is not None:
                    self.logger.record(f"canary/{name}", value)
            line.update(canaries)
        self.write_counts()
        if self.state.user_counts:
            line["user_counts"] = self.state.user_counts
            for name, count in self.state.user_counts.items():
                self.logger.record(f"user_counts/{name}", count)
        line["tokens_per_second"] = round(now.tokens_per_second, 2)
        line["seconds"] = round(now.seconds, 3)
        self._append(METRICS_FILE, line)

    def write_counts(self) -> None:
        """Writes what the user has counted in the whole run, before a resume and since.

        Raises:
            RunError: If the file cannot be written; an earlier one stays as it was.
        """
        total = self._counts_before.copy()
        total.update(self.recorder.user_counts())  # adds up, and keeps what is 0
        self.state.user_counts = dict(total)
        if total:
            write_json(self.folder / COUNTS_FILE, self.state.user_counts)

    def _interval(self) -> int:
        if isinstance(self.model, OnPolicyAlgorithm):
            return int(self.model.n_steps * self.model.n_envs)
        return OFF_POLICY_INTERVAL

    def _progress(self) -> TrainProgress:
        elapsed = time.perf_counter() - self._began
        self.state.seconds = self._seconds_before + elapsed
        return TrainProgress(
            steps=self.num_timesteps,
            total=self.total,
            episodes=self.state.episodes,
            feedback=self.state.feedback,
            held_out=self.state.held_out,
            tokens_per_second=(self.num_timesteps - self._begun_at) / max(elapsed, 1e-9),
            seconds=self.state.seconds,
        )

    def _append(self, name: str, line: dict[str, Any]) -> None:
        # Opened for each line: whoever reads the file sees it whole, and a crash loses nothing.
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json_line(line))
