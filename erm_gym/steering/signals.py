"""Steering signals: what the affect pathways feel on average in each bin."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erm_gym.llm.digest import digest
from erm_gym.steering.binning import Binning
from erm_gym.steering.feedback import PATHWAYS

MIN_SAMPLES = 15
"""Texts that a bin needs for its mean to be used. Source: the steering finding."""
MOST_ALIKE = 0.9
"""Correlation from which two signals are the same one. Source: the steering finding."""


class SignalError(ValueError):
    """Steering signals cannot be used; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """How alike the signals of two bins are."""

    pathway: str
    """`valence` or `arousal`."""
    one: str
    """A bin."""
    other: str
    """Another."""
    r: float
    """Pearson correlation over the 128 numbers of their signals."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringSignals:
    """Mean activation of each bin, in the centred and whitened form that pathways give."""

    grid: Binning
    """Where the borders of the bins are."""
    means: Tensor
    """`[bins, 2, 128]` float32 of the valence and the arousal path; 0 where there are no texts."""
    counts: Tensor
    """`[bins]` int64, training texts of each bin."""
    min_samples: int = MIN_SAMPLES
    """Texts that make a bin usable."""

    @property
    def usable(self) -> Tensor:
        """`[bins]` bool: whether a bin has enough texts."""
        return self.counts >= self.min_samples

    def of(self, bins: Tensor) -> Tensor:
        """The signals of texts, `[n, 2, 128]`; 0, so no steering, where a bin is not usable.

        Args:
            bins: `[n]` int64.
        """
        return self.means[bins] * self.usable[bins][:, None, None]

    def coverage(self, bins: Tensor) -> float:
        """Share of texts whose bins `[n]` have a usable signal."""
        return float(self.usable[bins].double().mean())

    def correlations(self) -> list[Correlation]:
        """All pairs of usable bins, for each pathway, the most alike first.

        Raises:
            SignalError: If a signal is constant, so that nothing correlates with it.
        """
        rows = self.usable.nonzero().flatten().tolist()
        labels, found = self.grid.labels, []
        for number, pathway in enumerate(PATHWAYS):
            own = self.means[rows, number].double()
            flat = [labels[row] for row, one in zip(rows, own, strict=True) if one.std() == 0]
            if flat:
                raise SignalError(f"the {pathway} signal of {'; '.join(flat)} is constant")
            r = torch.corrcoef(own) if len(rows) > 1 else torch.ones(1, 1)
            found += [
                Correlation(
                    pathway=pathway,
                    one=labels[rows[i]],
                    other=labels[rows[j]],
                    r=float(r[i, j]),
                )
                for i in range(len(rows))
                for j in range(i)
            ]
        return sorted(found, key=lambda pair: -pair.r)

    def validate(self) -> list[Correlation]:
        """All pairwise correlations.

        Raises:
            SignalError: If two signals correlate at `MOST_ALIKE` or more; it names all such pairs.
        """
        found = self.correlations()
        alike = [pair for pair in found if pair.r >= MOST_ALIKE]
        if alike:
            pairs = "; ".join(
                f"{pair.pathway}: {pair.one} and {pair.other} ({pair.r:.3f})" for pair in alike
            )
            raise SignalError(
                f"{len(alike)} of {len(found)} pairs of signals correlate at {MOST_ALIKE} or more: "
                f"{pairs}"
            )
        return found

    def digest(self) -> str:
        """Tells means, counts and borders from others."""
        own = [one.contiguous().cpu().numpy().tobytes() for one in (self.means, self.counts)]
        return digest([*own, repr(self.grid).encode()])

    def save(self, folder: Path) -> None:
        """Writes `signals-NAME.safetensors` and a `.json` with what is to be read, each whole."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"signals-{self.grid.name}.safetensors"
        about = {
            "grid": asdict(self.grid),
            "min_samples": self.min_samples,
            "bins": {
                label: {"texts": int(count), "usable": bool(enough)}
                for label, count, enough in zip(
                    self.grid.labels, self.counts, self.usable, strict=True
                )
            },
        }
        tensors = {"means": self.means, "counts": self.counts}
        partial = path.with_suffix(".partial")
        save_file({name: one.contiguous() for name, one in tensors.items()}, partial)
        partial.replace(path)
        partial.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        partial.replace(path.with_suffix(".json"))

    @classmethod
    def load(cls, folder: Path, binning: str) -> SteeringSignals:
        """Reads what `save` wrote.

        Raises:
            SignalError: If a file is missing, cut off, or belongs to another grid.
        """
        path = folder / f"signals-{binning}.safetensors"
        try:
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            with safe_open(path, framework="pt") as file:
                means, counts = file.get_tensor("means"), file.get_tensor("counts")
            grid = Binning(**{field: _tuple(value) for field, value in about["grid"].items()})
            if grid.name != binning or len(means) != grid.bins:
                raise ValueError("it belongs to another grid")
            return cls(
                grid=grid,
                means=means,
                counts=counts,
                min_samples=int(about["min_samples"]),
            )
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise SignalError(
                f"{path} holds no steering signals, or was cut off: {error}; make it again with "
                "erm-gym steer fit"
            ) from error


def extract_signals(
    activations: Tensor, ratings: Tensor, grid: Binning, *, min_samples: int = MIN_SAMPLES
) -> SteeringSignals:
    """Averages activations by bin.

    Args:
        activations: `[N, 2, 128]` signals of training texts, as `AffectPathways` gives them.
        ratings: `[N, 2]` their true valence and arousal, standardised.
        grid: Where the borders of the bins are.
        min_samples: Texts that make a bin usable, at least 1.

    Raises:
        ValueError: If shapes do not fit, or a number is out of range.
    """
    if min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, got {min_samples}")
    if not len(activations) or len(activations) != len(ratings):
        raise ValueError(f"there are {len(activations)} activations and {len(ratings)} ratings")
    bins = grid.of(ratings)
    activations = activations.float().cpu()
    counts = torch.bincount(bins, minlength=grid.bins)
    sums = torch.zeros(grid.bins, *activations.shape[1:]).index_add_(0, bins, activations)
    return SteeringSignals(
        grid=grid,
        means=sums / counts.clamp(min=1)[:, None, None],
        counts=counts,
        min_samples=min_samples,
    )


def _tuple(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(value) if isinstance(value, list) else value
