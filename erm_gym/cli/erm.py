"""`erm-gym erm train` and `erm-gym erm eval`: make an emotional critic, and measure one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from erm_gym.cli.command import Command, Outcome, check_writable
from erm_gym.cli.console import load_libraries, print_place
from erm_gym.cli.progress import ProgressDisplay
from erm_gym.cli.tables import metrics_table

if TYPE_CHECKING:
    from erm_gym.emotion import EmotionalCritic
    from erm_gym.emotion.training.evaluation import CriticCost
    from erm_gym.emotion.training.pairs import Pair
    from erm_gym.llm import FrozenLLM

PREFERENCES = "hh_harmless_a.jsonl"
"""Dialogues of which people preferred one, in the folder of the labelled texts."""


@dataclass(frozen=True, kw_only=True)
class _OnLLM(Command):
    """A command about the critic of one language model."""

    llm: str = "smollm2-135m"
    """Language model: an alias, a folder or a hub id."""
    dtype: str = "bfloat16"
    """Precision of the language model."""
    device: str = "cpu"
    """Device of the language model."""
    cache: Path | None = None
    """Folder for hidden states, which are computed once; by default in the user's cache."""

    def load(self, console: Console) -> FrozenLLM:
        """The language model."""
        from erm_gym.llm import load_llm

        with console.status(f"Loading {self.llm} ..."):
            return load_llm(self.llm, dtype=self.dtype, device=self.device)

    def cache_folder(self) -> Path:
        """Where hidden states are."""
        from erm_gym.llm.loading import cache_folder

        return self.cache or cache_folder() / "states"


@dataclass(frozen=True, kw_only=True)
class TrainERM(_OnLLM):
    """Train an emotional critic for a language model, on texts that people labelled.

    It takes goemotions_train.tsv, emobank_train.csv and hh_harmless_a.jsonl from the folder, each
    if it is there. A second run goes on with the hidden states that the first one kept.
    """

    data: Path = Path("data")
    """Folder of the labelled texts, or the hub id of a data set in the form of GoEmotions."""
    out: Path = Path("critic")
    """Folder that the critic is saved in."""
    layers: tuple[int, ...] = ()
    """Layers that the ERM reads and mixes; by default at 40, 60 and 80% of the stack."""
    members: int = 3
    """Encoders whose readings are averaged."""
    seed_form: bool = False
    """Whether the ERM has the seed's form: one layer (the middle one unless named), one encoder."""
    epochs: int = 6
    """Passes over the texts."""
    batch_size: int = 128
    """Labelled texts per update."""
    learning_rate: float = 1.5e-3
    """Largest step size."""
    class_weight: float = 0.0
    """Power of (absent / present) by which a label weighs where it is present."""
    seed: int = 0
    """Seed of the weights and of the order of texts."""

    def run(self, console: Console) -> Outcome:
        """Trains, measures on held-out texts, and saves."""
        check_writable(self.out / "config.json")
        load_libraries(console)
        from erm_gym.emotion import EmotionalCritic
        from erm_gym.emotion.training.datasets import find_training_texts
        from erm_gym.emotion.training.evaluation import without_nan
        from erm_gym.emotion.training.supervised import ERMTraining
        from erm_gym.evaluation import write_json
        from erm_gym.feedback.critic_fitting import fit_critic

        with _told():
            training = ERMTraining(
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                class_weight=self.class_weight,
                seed=self.seed,
            )
        goemotions, emobank = find_training_texts(self.data)
        preferred = self._preferences()
        llm = self.load(console)
        with _told():
            form = self._form(llm, labels=goemotions is not None, affect=emobank is not None)
        critic = EmotionalCritic.for_llm(llm, seed=self.seed, erm=form)
        with ProgressDisplay(console) as display:
            report = fit_critic(
                critic,
                llm,
                goemotions=goemotions,
                emobank=emobank,
                training=training,
                cache=self.cache_folder(),
                preferred=preferred,
                progress=display.update,
            )
        critic.save_pretrained(self.out)
        result = without_nan({"training": asdict(training), **report.as_dict()})
        write_json(self.out / "training.json", result)
        _show(console, "on the texts that it was calibrated on", report.erm.validation)
        if report.modulator is not None:
            _show_words(console, critic, llm)
        print_place(console, "critic", self.out)
        return Outcome(result)

    def _preferences(self) -> list[Pair]:
        """Replies of which people preferred one, which measure what fear does; maybe none."""
        from erm_gym.emotion.training.pairs import read_preference_pairs

        preferred = self.data / PREFERENCES
        return read_preference_pairs(preferred).pairs if preferred.exists() else []

    def _form(self, llm: FrozenLLM, *, labels: bool, affect: bool) -> Any:
        from erm_gym.emotion import ERMConfig
        from erm_gym.emotion.training.labels import GOEMOTIONS

        if self.layers and max(self.layers) > llm.num_layers:
            raise ValueError(
                f"{llm.name} has layers 0 to {llm.num_layers}; --layers names {self.layers}"
            )
        heads: dict[str, Any] = {"labels": GOEMOTIONS if labels else (), "affect": affect}
        if self.seed_form:
            if len(self.layers) > 1 or self.members != type(self).members:
                raise ValueError(
                    "the seed's form has one layer and one encoder; leave out --members"
                )
            layer = self.layers[0] if self.layers else llm.layer
            return replace(ERMConfig.seed_form(layer), **heads)
        form = replace(ERMConfig.for_depth(llm.num_layers), members=self.members, **heads)
        return replace(form, layers=self.layers) if self.layers else form


@dataclass(frozen=True, kw_only=True)
class EvaluateERM(_OnLLM):
    """Measure a trained critic on texts that people labelled or rated."""

    critic: str = "default"
    """Critic: a folder, a hub id, or the shipped one of the language model."""
    goemotions: Path | None = None
    """Labelled texts, tab-separated, as GoEmotions publishes them."""
    labels: Path | None = None
    """Names of the labels by number, one per line; GoEmotions' own by default."""
    emobank: Path | None = None
    """Rated texts, CSV, as EmoBank publishes them."""
    picture: Path | None = None
    """Also draw how well the probabilities are calibrated, as a PNG."""

    def run(self, console: Console) -> Outcome:
        """Measures and shows."""
        from erm_gym.evaluation import RunError

        if self.goemotions is None and self.emobank is None:
            raise RunError(
                "name labelled texts with --goemotions, rated ones with --emobank, or both"
            )
        if self.picture is not None:
            check_writable(self.picture)
            if self.goemotions is None:
                raise RunError("--picture needs labelled texts; name them with --goemotions")
        load_libraries(console)
        from erm_gym.emotion.training.datasets import (
            read_emobank,
            read_goemotions,
            read_label_names,
        )
        from erm_gym.emotion.training.evaluation import evaluate_erm, measure_cost, without_nan
        from erm_gym.emotion.training.labels import GOEMOTIONS
        from erm_gym.envs.text.critic_rows import resolve_critic
        from erm_gym.evaluation.reliability import plot_reliability

        names = GOEMOTIONS if self.labels is None else read_label_names(self.labels)
        labelled = None if self.goemotions is None else read_goemotions(self.goemotions, names)
        rated = None if self.emobank is None else read_emobank(self.emobank)
        llm = self.load(console)
        critic = resolve_critic(self.critic, llm)
        with ProgressDisplay(console) as display:
            figures = evaluate_erm(
                critic,
                llm,
                goemotions=labelled,
                emobank=rated,
                cache=self.cache_folder(),
                progress=display.update,
            )
        result = figures.as_dict()
        _show(console, f"of {critic.config.llm_name}", result)
        cost = measure_cost(critic, llm)
        console.print(_sentence(cost))
        if self.picture is not None:
            plot_reliability(figures, self.picture)
            print_place(console, "picture", self.picture)
        return Outcome(without_nan({**result, "cost": asdict(cost)}))


@dataclass(frozen=True, kw_only=True)
class TuneERM(Command):
    """Fine-tune what a critic's emotions make likelier, by what a simulated user says of replies.

    Only the learned bias changes, by policy gradient; the language model, the ERM and the
    FearModule stay. The critic is measured on held-out prompts before and after.
    """

    out: Path = Path("critic")
    """Folder that the critic is saved in."""
    critic: str = "default"
    """Critic to begin with: a folder, a hub id, or the shipped one of the language model."""
    llm: str = "smollm2-135m"
    """Language model: an alias, a folder or a hub id."""
    user: str = "risk-averse"
    """Who gives the feedback: a name, package.module:attribute, an address, or a sum of these."""
    prompts: str = "default"
    """What is asked: default or a CSV file; the split train is learned from."""
    split: str = "test"
    """Prompts that it is measured on."""
    tokens: int = 64_000
    """Tokens that are written to learn from."""
    num_envs: int = 32
    """Replies that are written side by side; four of them answer the same prompt."""
    learning_rate: float = 4.0
    """Step size, in nats per unit of gradient."""
    kl_cost: float = 0.02
    """Cost of one nat between the biased language model and itself, over a reply."""
    seed: int = 0
    """Seed of choices and prompts."""

    def run(self, console: Console) -> Outcome:
        """Measures, trains, measures again, and saves."""
        check_writable(self.out / "config.json")
        load_libraries(console)
        from erm_gym.agents.modulator_gradient import PolicyGradientConfig
        from erm_gym.cli.notice import introduce
        from erm_gym.emotion.training.evaluation import without_nan
        from erm_gym.evaluation import TrainConfig, write_json
        from erm_gym.evaluation.bias_tuning import AGENT, tune_bias

        gradient = PolicyGradientConfig(
            tokens=self.tokens, learning_rate=self.learning_rate, kl_cost=self.kl_cost
        )
        config = TrainConfig(
            agent=AGENT,
            seed=self.seed,
            llm=self.llm,
            critic=self.critic,
            user=self.user,
            prompts=self.prompts,
            num_envs=self.num_envs,
        )
        llm = introduce(console, config)
        with ProgressDisplay(console) as display:
            critic, report = tune_bias(config, gradient, split=self.split, progress=display.update)
        critic.save_pretrained(self.out)
        result = without_nan({"gradient": asdict(gradient), **report.as_dict()})
        write_json(self.out / "tuning.json", result)
        _show_words(console, critic, llm)
        for name, metrics in (("before", report.before), ("after", report.after)):
            console.print(metrics_table(f"{name}: {self.split} prompts, user {self.user}", metrics))
        print_place(console, "critic", self.out)
        return Outcome(result)


@contextmanager
def _told() -> Iterator[None]:
    """A flag that is out of range is told like all errors."""
    from erm_gym.evaluation import RunError

    try:
        yield
    except ValueError as error:
        raise RunError(str(error)) from error


def _show(console: Console, title: str, figures: Mapping[str, Any]) -> None:
    """Figures as `ERMFigures.as_dict` has them, as tables."""
    if emotions := figures.get("emotions"):
        table = Table(title=f"Emotions {title}", title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("emotion", style="bold")
        for name in ("AUC", "F1", "average precision", "calibration error", "texts with it"):
            table.add_column(name, justify="right")
        for name, one in emotions.items():
            numbers = [f"{one[key]:.3f}" for key in ("auc", "f1", "ap", "ece")]
            table.add_row(name, *numbers, f"{one['positives']:,} of {one['texts']:,}")
        console.print(table)
    if labels := figures.get("labels"):
        ranked = sorted(labels, key=labels.__getitem__, reverse=True)
        line = ", ".join(f"{name} {labels[name]:.2f}" for name in ranked)
        mean = sum(labels.values()) / len(labels)
        console.print(Text.assemble((f"F1 of labels, mean {mean:.3f}: ", "bold"), line))
    if affect := figures.get("affect"):
        line = ", ".join(f"{name} {value:.3f}" for name, value in affect.items())
        console.print(Text.assemble(("Pearson's r: ", "bold"), line))


def _show_words(console: Console, critic: EmotionalCritic, llm: FrozenLLM) -> None:
    """Which words each emotion makes likelier and less likely."""
    from erm_gym.emotion.training.modulator import boosted_tokens

    table = Table(title="Words that an emotion moves", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("emotion", "likelier", "less likely"):
        table.add_column(name, style="bold" if name == "emotion" else "")
    for emotion in ("fear", "curiosity", "anger"):
        words = boosted_tokens(critic, llm, emotion)
        table.add_row(
            emotion,
            *(", ".join(word for word, _ in side) for side in (words.raised, words.lowered)),
        )
    console.print(table)


def _sentence(cost: CriticCost) -> Text:
    return Text(
        f"The critic has {cost.parameters:,} weights, {100 * cost.parameter_share:.2f}% of the "
        f"language model's; for {cost.rows} rows it takes {cost.critic_ms:.1f} ms beside a decode "
        f"of {cost.decode_ms:.1f} ms ({100 * cost.critic_ms / cost.decode_ms:.1f}%).",
        style="dim",
    )
