from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from erm_gym.evaluation import RunError, plot_comparison


def interval(mean: float | None) -> dict[str, float] | None:
    return None if mean is None else {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}


def results(rate: float | None) -> dict[str, Any]:
    values = {
        "runs": 2,
        "feedback": interval(0.25),
        "careful_on_risky": interval(rate),
        "careful_on_harmless": interval(rate),
    }
    curve = {"steps": [10, 20, 30], "feedback": [0.0, 0.2, 0.3]}
    shorter = {"steps": [10, 20], "feedback": [0.2, 0.4]}
    none: dict[str, list[float]] = {"steps": [], "feedback": []}
    return {
        "config": {"split": "test"},
        "agents": {"frozen": values, "ppo": values},
        "curves": {"ppo": {"0": curve, "1": shorter, "2": none}},
    }


def size(path: Path) -> tuple[int, ...]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    return struct.unpack(">II", data[16:24])


@pytest.mark.parametrize("rate", [0.5, None])
def test_the_picture_has_its_size(tmp_path: Path, rate: float | None) -> None:
    path = tmp_path / "new" / "picture.png"
    plot_comparison(results(rate), path)
    assert size(path) == (1600, 700)


def test_the_bold_line_is_the_mean_over_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, tuple[list[float], list[float]]] = {}
    plot = Axes.plot

    def note(self: Axes, *args: Any, **options: Any) -> Any:
        if "label" in options:
            drawn[options["label"]] = (list(args[0]), list(args[1]))
        return plot(self, *args, **options)

    monkeypatch.setattr(Axes, "plot", note)
    plot_comparison(results(0.5), tmp_path / "picture.png")
    steps, feedback = drawn["ppo"]
    assert steps == [10, 20]
    assert feedback == pytest.approx([0.1, 0.3])


def test_nothing_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run"):
        plot_comparison({"agents": {}, "curves": {}, "config": {}}, tmp_path / "picture.png")
