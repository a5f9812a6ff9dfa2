"""`erm-gym steer`: fit what steers a language model, sweep it, and write steered replies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.text import Text

from erm_gym.cli.command import Command, Outcome, check_writable
from erm_gym.cli.console import load_libraries, print_place
from erm_gym.cli.progress import ProgressDisplay

if TYPE_CHECKING:
    from erm_gym.emotion.training.datasets import LabelledTexts
    from erm_gym.llm import FrozenLLM

Mode = Literal["multiplicative", "additive"]
Part = Literal["affect", "replies", "control"]
PARTS: tuple[Part, ...] = ("affect", "replies", "control")


@dataclass(frozen=True, kw_only=True)
class _Steering(Command):
    """A command about steering one language model."""

    llm: str = "smollm2-135m"
    """Language model: an alias, a folder or a hub id."""
    dtype: str = "bfloat16"
    """Precision of the language model while it writes; affect is read in float32."""
    device: str = "cpu"
    """Device of the language model."""

    def load(self, console: Console, dtype: str | None = None) -> FrozenLLM:
        """The language model."""
        from erm_gym.llm import load_llm

        with console.status(f"Loading {self.llm} ..."):
            return load_llm(self.llm, dtype=dtype or self.dtype, device=self.device)


@dataclass(frozen=True, kw_only=True)
class FitSteering(_Steering):
    """Take directions from labelled texts, and train affect pathways on rated ones.

    It takes goemotions_train.tsv and emobank_train.csv from the folder, each if it is there.
    """

    data: Path = Path("data")
    """Folder of the labelled and rated texts."""
    out: Path = Path("steering")
    """Folder for what is fitted."""
    layer: int = 16
    """Hidden layer that directions are taken from and added to."""
    texts: int = 500
    """Labelled texts with an emotion, and as many without, that make its direction."""
    head_layer: int = 18
    """Hidden layer that the affect pathways read."""
    target_layers: tuple[int, ...] = (14, 16)
    """Hidden layers, below that, which their signals steer."""
    mode: Mode = "multiplicative"
    """How signals change them."""
    threshold: float = 0.3
    """Border of neutral valence and moderate arousal, in standard deviations."""
    seed: int = 0
    """Seed of everything random."""

    def run(self, console: Console) -> Outcome:
        """Fits, saves, and tells how alike the signals are."""
        check_writable(self.out / "affect.safetensors")
        load_libraries(console)
        from erm_gym.emotion.training.datasets import find_training_texts
        from erm_gym.evaluation import RunError

        labelled, rated = find_training_texts(self.data)
        llm = self.load(console)
        result: dict[str, Any] = {}
        with ProgressDisplay(console) as display:
            try:
                if rated is not None:
                    self._check_affect(llm)
                if labelled is not None:
                    result["directions"] = self._directions(llm, labelled, display)
                if rated is not None:
                    result["affect"] = self._affect(console, rated, display)
            except ValueError as error:
                raise RunError(str(error)) from error
        print_place(console, "steering", self.out)
        return Outcome(result)

    def _check_affect(self, llm: FrozenLLM) -> None:
        """Tells what is wrong with the settings before anything is read."""
        from erm_gym.steering import AffectSteering

        AffectSteering.check(
            llm,
            head_layer=self.head_layer,
            target_layers=self.target_layers,
            mode=self.mode,
            threshold=self.threshold,
        )

    def _directions(
        self, llm: FrozenLLM, data: LabelledTexts, display: ProgressDisplay
    ) -> dict[str, Any]:
        from erm_gym.steering import contrastive_directions
        from erm_gym.steering.emotions import contrasts

        found = contrastive_directions(
            llm,
            contrasts(data, texts=self.texts, seed=self.seed),
            [self.layer],
            progress=lambda done, total: display.update("directions", done, total, unit="sides"),
        )
        found.save(self.out)
        return {
            "layers": found.layers,
            "counts": dict(zip(found.emotions, found.counts, strict=True)),
        }

    def _affect(
        self, console: Console, data: LabelledTexts, display: ProgressDisplay
    ) -> dict[str, Any]:
        from erm_gym.steering import AffectSteering
        from erm_gym.steering.signals import MOST_ALIKE

        made = AffectSteering.fit(
            self.load(console, "float32"),
            data.texts,
            data.values[:, :2],
            head_layer=self.head_layer,
            target_layers=self.target_layers,
            mode=self.mode,
            threshold=self.threshold,
            seed=self.seed,
            progress=lambda work, done, total: display.update(work, done, total, unit="parts"),
        )
        made.save(self.out)
        first, second = made.feedback.errors.tolist()
        result: dict[str, Any] = {"errors": {"first_pass": first, "steered": second}}
        console.print(
            f"mean squared error on held-out texts: {first:.4f} at the first pass, {second:.4f} "
            "when it steers the second"
        )
        for name, signals in made.signals.items():
            pairs, bins = signals.correlations(), len(signals.counts)
            alike = sum(pair.r >= MOST_ALIKE for pair in pairs)
            usable = int(signals.usable.sum())
            result[name] = {"usable": usable, "bins": bins}
            said = f"{name}: {usable} of {bins} bins have enough texts"
            if pairs:
                result[name] |= {"most_alike": pairs[0].r, "too_alike": alike}
                said += (
                    f"; the most alike signals, {pairs[0].one} and {pairs[0].other}, correlate at "
                    f"{pairs[0].r:.3f}"
                )
            if alike:
                said += f" ({alike} of {len(pairs)} pairs at {MOST_ALIKE} or more: too alike)"
            console.print(said)
        return result


@dataclass(frozen=True, kw_only=True)
class SweepSteering(_Steering):
    """Measure what steering does to affect that is read, to replies, and under an agent's control.

    It takes emobank_train.csv, emobank_dev.csv and, for replies and control, what `steer fit` has
    written. Called again, it goes on.
    """

    data: Path = Path("data")
    """Folder of the rated texts."""
    steering: Path = Path("steering")
    """Folder that `steer fit` wrote."""
    out: Path = Path("results")
    """Folder of the results."""
    parts: tuple[Part, ...] = PARTS
    """What is measured."""
    head_layer: int = 18
    """Hidden layer that affect is read in."""
    target_layers: tuple[int, ...] = (14, 16)
    """Hidden layers, below that, which are steered for it."""
    mode: Mode = "multiplicative"
    """How signals change them."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of what reads affect and leads it back."""
    quick: bool = False
    """Few texts, seeds and episodes, to see that everything runs; the figures mean nothing."""

    def run(self, console: Console) -> Outcome:
        """Measures with progress, then writes the page."""
        check_writable(self.out / "steering.md")
        load_libraries(console)
        from erm_gym.evaluation.steering.report import Measurement, measure_steering

        asked = Measurement(
            data=self.data,
            steering=self.steering,
            out=self.out,
            parts=self.parts,
            head_layer=self.head_layer,
            target_layers=self.target_layers,
            mode=self.mode,
            seeds=self.seeds,
            quick=self.quick,
            dtype=self.dtype,
        )
        with ProgressDisplay(console) as display:
            results = measure_steering(
                lambda dtype: self.load(console, dtype),
                asked,
                progress=lambda work, done, total: display.update(
                    "sweep", done, total, unit="parts", note=work
                ),
            )
        print_place(console, "page", asked.page)
        return Outcome(results)


@dataclass(frozen=True, kw_only=True)
class GenerateSteered(_Steering):
    """Write replies steered towards an emotion or a bin, beside the same ones unsteered."""

    prompt: str
    """What the user says."""
    steering: Path = Path("steering")
    """Folder that `steer fit` wrote."""
    towards: str = "joy"
    """An emotion, whose direction is added, or a bin such as "positive, strong", whose signals
    modulate hidden states."""
    strength: float = 2.0
    """How much; of a direction it may be negative, which steers away."""
    replies: int = 3
    """Replies of each kind."""
    max_new_tokens: int = 60
    """Longest reply."""
    temperature: float = 0.7
    """Of the sampling."""
    seed: int = 0
    """Of the sampling."""

    def run(self, console: Console) -> Outcome:
        """Writes and shows."""
        from erm_gym.evaluation import RunError

        if self.replies < 1:
            raise RunError(f"--replies must be at least 1, got {self.replies}")
        load_libraries(console)
        from erm_gym.steering import FittedSteering, generate_steered

        llm = self.load(console)
        result: dict[str, Any] = {}
        try:
            fitted = FittedSteering.load(self.steering, llm)
            steered = fitted.edits(self.towards, self.strength, self.replies)
            for name, edits in (
                ("unsteered", {}),
                (f"{self.towards} {self.strength:g}", steered),
            ):
                written = generate_steered(
                    llm,
                    [self.prompt] * self.replies,
                    edits,
                    max_new_tokens=self.max_new_tokens,
                    temperature=self.temperature,
                    seed=self.seed,
                )
                console.print(Text(name, style="bold"))
                for reply in written:
                    console.print(Text(f"- {reply.text}"))
                    console.print(Text(f"  perplexity {reply.perplexity:.1f}", style="dim"))
                result[name] = [
                    {"text": reply.text, "perplexity": reply.perplexity} for reply in written
                ]
        except ValueError as error:
            raise RunError(str(error)) from error
        return Outcome(result)
