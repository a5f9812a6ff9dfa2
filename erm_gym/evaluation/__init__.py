"""Training runs, evaluation on held-out prompts, metrics, and comparisons with honest statistics.

Everything is imported when it is first asked for: the configurations are read for a command's help
without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from erm_gym.evaluation.alarms import Alarm, ring
    from erm_gym.evaluation.canaries import Canaries, measure_canaries
    from erm_gym.evaluation.comparison import CompareProgress, compare
    from erm_gym.evaluation.config import (
        CompareConfig,
        RunError,
        RunInterrupted,
        RunOptions,
        TrainConfig,
    )
    from erm_gym.evaluation.metrics import Metrics, summarise
    from erm_gym.evaluation.picture import plot_comparison
    from erm_gym.evaluation.records import EpisodeRecord
    from erm_gym.evaluation.replaying import Recording, read_recording, replay
    from erm_gym.evaluation.rollouts import evaluate
    from erm_gym.evaluation.runs import TrainProgress, TrainResult, load_run, train
    from erm_gym.evaluation.statistics import (
        Interval,
        cvar,
        iqm,
        probability_of_improvement,
        stratified_bootstrap,
    )
    from erm_gym.evaluation.storage import read_json, read_records, write_json, write_records

_HOMES = {
    "Alarm": "alarms",
    "Canaries": "canaries",
    "CompareConfig": "config",
    "CompareProgress": "comparison",
    "EpisodeRecord": "records",
    "Interval": "statistics",
    "Metrics": "metrics",
    "Recording": "replaying",
    "RunError": "config",
    "RunInterrupted": "config",
    "RunOptions": "config",
    "TrainConfig": "config",
    "TrainProgress": "runs",
    "TrainResult": "runs",
    "compare": "comparison",
    "cvar": "statistics",
    "evaluate": "rollouts",
    "iqm": "statistics",
    "load_run": "runs",
    "measure_canaries": "canaries",
    "plot_comparison": "picture",
    "probability_of_improvement": "statistics",
    "read_json": "storage",
    "read_recording": "replaying",
    "read_records": "storage",
    "replay": "replaying",
    "ring": "alarms",
    "stratified_bootstrap": "statistics",
    "summarise": "metrics",
    "train": "runs",
    "write_json": "storage",
    "write_records": "storage",
}

__all__ = [
    "Alarm",
    "Canaries",
    "CompareConfig",
    "CompareProgress",
    "EpisodeRecord",
    "Interval",
    "Metrics",
    "Recording",
    "RunError",
    "RunInterrupted",
    "RunOptions",
    "TrainConfig",
    "TrainProgress",
    "TrainResult",
    "compare",
    "cvar",
    "evaluate",
    "iqm",
    "load_run",
    "measure_canaries",
    "plot_comparison",
    "probability_of_improvement",
    "read_json",
    "read_recording",
    "read_records",
    "replay",
    "ring",
    "stratified_bootstrap",
    "summarise",
    "train",
    "write_json",
    "write_records",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
