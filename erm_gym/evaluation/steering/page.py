"""What was found about steering, as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from erm_gym.evaluation.config import RunError
from erm_gym.evaluation.statistics import Interval
from erm_gym.evaluation.steering.conditions import BROKEN_PERPLEXITY, CONTROLS, SOURCES
from erm_gym.evaluation.steering.effects import UNSTEERED, condition_name
from erm_gym.evaluation.steering.readers import READERS
from erm_gym.evaluation.steering.tables import (
    REPORTED_APPROACHES,
    REPORTED_SINGLE,
    REPORTED_STRENGTHS,
)
from erm_gym.evaluation.storage import atomic_path
from erm_gym.steering.signals import MOST_ALIKE

PAGE = "steering.md"
NOTHING = "-"
TITLES = {
    "signal": "signal",
    "random": "random signal",
    "shuffled": "another text's bin",
}
SWEPT = (
    "A head reads valence and arousal of a sentence in a hidden state of the frozen language "
    "model. At a second pass the lower layers are modulated by the mean activation of the "
    "sentence's bin, and the head reads again. Figures are changes of Pearson's r with the ratings "
    "of {n} test sentences, means over {seeds} seeds of the head, with 95% intervals over "
    "sentences and seeds. *True* bins come from the label itself, as in the finding, so that the "
    "label leaks into the prediction; *predicted* bins come from the first pass, which is all that "
    "there is in use."
)

WRITTEN = (
    "Replies to {n} held-out prompts, sampled at temperature {temperature:g} with the same random "
    "numbers under all strengths, at most {tokens} tokens. Hidden states of the reply's tokens are "
    "steered: a direction (contrastive activation addition) is added at {added}, or the signals of "
    "a bin modulate {modulated}, valence and arousal together. d is Cohen's against the unsteered "
    "replies, with a 95% interval over prompts: once as the critic reads the text, with a model "
    "that is not steered, and once as the NRC lexicon does, which has no curiosity and stands in "
    "with anticipation. Perplexity is the median under the unsteered model, relative to unsteered "
    "replies. *Reported* is what earlier work in English found on a model of 3 billion parameters."
)


def page_of(found: Mapping[str, Any], *, quick: bool = False) -> str:
    """The page.

    Args:
        found: Results by part, each if it was measured: `affect`, what `tables` returns with the
            `config` of the sweep; `replies`, what `measure_effects` returns; `control`, what
            `learn_strength` returns.
        quick: Whether the figures mean nothing.

    Raises:
        RunError: If results are of another version.
    """
    parts = ["# Emotion steering on a language model", ""]
    if quick:
        parts += ["**A quick run, to see that it works: its figures mean nothing.**", ""]
    for name, section in (("affect", _affect), ("replies", _replies), ("control", _control)):
        try:
            parts += section(found[name]) if name in found else []
        except (KeyError, TypeError) as error:
            raise RunError(
                f"earlier results of {name} were written by another version of this program "
                f"({error}); move them away, or give another folder"
            ) from error
    return "\n".join([*parts, "Made by `erm-gym steer fit` and `erm-gym steer sweep`.", ""])


def write_page(path: Path, page: str) -> None:
    """Writes the page; missing folders are made.

    Raises:
        RunError: If the file cannot be written.
    """
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def _affect(found: Mapping[str, Any]) -> list[str]:
    config = found["config"]
    swept = SWEPT.format(n=config["test"]["texts"], seeds=len(config["seeds"]))
    valence, arousal = (_interval(one, signed=False) for one in found["plain"])
    first, second = found["errors"]
    lines = [
        "## What steering does to affect that is read",
        "",
        swept,
        "",
        f"{_model(config)}. Unsteered, r is {valence} for valence and {arousal} for arousal. The "
        f"head reads layer {config['head_layer']} and is steered at "
        f"{_layers(config['target_layers'])}, {config['mode']}. Of "
        f"{config['training']['texts']} training sentences the head and its "
        f"signals come from {1 - config['feedback_share']:.0%}, the feedback connections "
        f"from the others, until the error on a fifth of these stops falling; it is {first:.4f} at "
        f"the first pass and {second:.4f} at the second (mean squared, standardised, predicted "
        f"bins). {' '.join(_alike(name, one) for name, one in found['alike'].items())}",
        "",
        "![Changes of r by strength and approach](steering_affect.png)",
        "",
        f"### Approaches, at strength {config['strength']:g}",
        "",
        *_approaches(found),
        "",
        "The finding's figures of a single layer are at strength 2, its others at a strength that "
        "it does not name.",
        "",
        f"### Strengths, valence alone at layer {config['target_layers'][-1]}",
        "",
        *_strengths(found),
        "",
        _breaking(found["breaks"], config["perplexity_texts"]),
        "",
        "### The finding's four insights",
        "",
        "A test is held if its whole 95% interval is where the finding says, refuted if it is on "
        "the other side, and undecided otherwise; intervals are not corrected for their number. An "
        "insight holds if all its tests do with predicted bins, and does not if one is refuted "
        "there.",
        "",
        *_insights(found["insights"]),
        "",
    ]
    return lines


def _alike(binning: str, found: Mapping[str, Any]) -> str:
    if not found["most_alike"]:
        return f"Of {binning} too few have enough sentences to compare their signals."
    pair = max(found["most_alike"], key=lambda one: float(one["r"]))
    rs = ", ".join(f"{one['r']:.3f}" for one in found["most_alike"])
    return (
        f"The most alike usable signals of {binning} steering correlate at {rs} in each seed, at "
        f"most those of {pair['one']} and {pair['other']} ({pair['pathway']}); "
        f"{found['too_alike'] or 'no'} pairs are at {MOST_ALIKE:g} or more."
    )


def _approaches(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _header(
        "approach",
        "bins",
        "put in",
        "valence",
        "arousal",
        "finding: valence",
        "arousal",
        "coverage",
    )
    for name, by_source in found["approaches"].items():
        reported = REPORTED_APPROACHES.get(name, REPORTED_SINGLE)
        for source in SOURCES:
            for control in CONTROLS:
                own = source == "true" and control == "signal"
                yield _row(
                    name,
                    source,
                    TITLES[control],
                    *map(_interval, by_source[source][control]),
                    *(f"{one:+.4f}" if own else "" for one in reported),
                    f"{found['coverage'][f'{name.split()[0]} {source}']:.1%}"
                    if control == "signal"
                    else "",
                )


def _strengths(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _header(
        "strength",
        "true bins: valence",
        "arousal",
        "predicted bins: valence",
        "arousal",
        "perplexity, times",
        "finding: valence",
        "arousal",
    )
    for name, by_source in found["strengths"].items():
        ratio = found["perplexity"][name]
        reported = REPORTED_STRENGTHS.get(float(name))
        yield _row(
            name,
            *(_interval(one) for source in SOURCES for one in by_source[source]),
            NOTHING if ratio is None else f"{ratio:.3f}",
            *([NOTHING] * 2 if reported is None else [f"{one:+.3f}" for one in reported]),
        )


def _breaking(breaks: Mapping[str, float | None], texts: int) -> str:
    predictions, perplexity = breaks["predictions"], breaks["perplexity"]
    worse = "at none of these strengths" if predictions is None else f"from {predictions:g} on"
    broken = "at none of these strengths" if perplexity is None else f"from {perplexity:g} on"
    return (
        "With predicted bins, r of valence or arousal is surely lower than unsteered "
        f"{worse}; the model's perplexity of {texts} of the sentences, steered by the first seed's "
        f"signals, is twice as high or more {broken}."
    )


def _insights(insights: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _header("insight", "test", "true bins", "predicted bins", "verdict")
    for insight in insights:
        for number, (true, own) in enumerate(
            zip(insight["tests"]["true"], insight["tests"]["predicted"], strict=True)
        ):
            yield _row(
                f"{insight['name']}: {insight['claim']}" if not number else "",
                true["what"],
                *(f"{_interval(one['interval'])} {one['outcome']}" for one in (true, own)),
                f"**{insight['verdict']}**" if not number else "",
            )


def _replies(found: Mapping[str, Any]) -> list[str]:
    config = found["config"]
    about = config["steering"]
    lines = [
        "## What steering does to replies",
        "",
        f"{_model(config)}. "
        + WRITTEN.format(
            n=len(config["prompts"]),
            temperature=config["temperature"],
            tokens=config["max_new_tokens"],
            added=_layers(about["directions"]["layers"]),
            modulated=_layers(about["affect"]["layers"]),
        ),
        "",
        "![Cohen's d by strength](steering_replies.png)",
        "",
        "### Towards an emotion, by its direction",
        "",
        *_effects(found),
        "",
        "### Towards a bin, by its signals",
        "",
        *_bins(found),
        "",
        *_samples(found),
    ]
    return lines


def _model(config: Mapping[str, Any]) -> str:
    llm = config["llm"]
    return f"The model is `{llm['fingerprint']}` in {llm['dtype']}"


def _layers(layers: Sequence[int]) -> str:
    return f"layer{'s' * (len(layers) > 1)} {' and '.join(map(str, layers))}"


def _effects(found: Mapping[str, Any]) -> Iterator[str]:
    yield from _header(
        "emotion", "strength", "d, critic", "d, lexicon", "perplexity, times", "reported d"
    )
    for emotion in found["config"]["emotions"]:
        effect = found["effects"][emotion]
        for number, (strength, one) in enumerate(effect["strengths"].items()):
            yield _row(
                emotion if not number else "",
                strength,
                *(_size(one, reader, emotion) for reader in READERS),
                _ratio(one),
                f"{effect['reported']:.2f}" if not number and effect["reported"] else "",
            )


def _bins(found: Mapping[str, Any]) -> Iterator[str]:
    emotions = found["config"]["emotions"]
    yield from _header(
        "bin", "strength", "read by", *(f"d, {one}" for one in emotions), "perplexity, times"
    )
    for label in found["config"]["bins"]:
        for strength, one in found["effects"][label]["strengths"].items():
            for number, reader in enumerate(READERS):
                first = [label, strength] if not number else ["", ""]
                sizes = (_size(one, reader, emotion) for emotion in emotions)
                yield _row(*first, reader, *sizes, _ratio(one) if not number else "")


def _size(one: Mapping[str, Any], reader: str, emotion: str) -> str:
    size = one["d"].get(reader, {}).get(emotion)
    return NOTHING if size is None else _interval(size, digits=2)


def _ratio(one: Mapping[str, Any]) -> str:
    ratio = one["perplexity_ratio"]
    if ratio is None:
        return "overflow"
    return f"{ratio:.2f}{' (broken)' if _is_broken(one) else ''}"


def _is_broken(one: Mapping[str, Any]) -> bool:
    ratio = one["perplexity_ratio"]
    return ratio is None or ratio >= BROKEN_PERPLEXITY


def _samples(found: Mapping[str, Any]) -> Iterator[str]:
    """How one reply begins, unsteered and at the largest strength that breaks nothing."""
    names = [UNSTEERED]
    for target, effect in found["effects"].items():
        whole = [name for name, one in effect["strengths"].items() if not _is_broken(one)]
        names += [condition_name(target, float(name)) for name in whole[-1:]]
    yield f'To "{found["config"]["prompts"][0]}", at the largest unbroken strengths:'
    yield ""
    for name in names:
        reply = found["conditions"][name]["replies"][0]
        yield f"- *{name}*: {' '.join(reply.split())[:160]}"
    yield ""


def _control(found: Mapping[str, Any]) -> list[str]:
    config = found["config"]
    lines = [
        "## Strength that is learned",
        "",
        f"An agent (PPO) sets how strongly a reply is steered towards {config['emotion']} anew for "
        f"every {config['tokens_per_action']} tokens, in `ErmGym/EmotionControl-v0` with the user "
        f"`{config['user']}`; the other parts of its action are held at 0. It is compared with "
        f"fixed strengths, of which the best is chosen on training prompts, by as many replies as "
        f"the agent learned from, {config['episodes']:,}; on {config['evaluation_prompts']} "
        f"held-out prompts, with {len(config['seeds'])} seeds.",
        "",
        *_header(
            "who",
            "score (95% interval)",
            "strength: mean",
            "standard deviation of replies",
            "P(adaptive is better)",
        ),
    ]
    for name, one in found["agents"].items():
        better = one.get("improvement")
        lines.append(
            _row(
                name,
                _interval(one["score"], digits=3, signed=False),
                f"{one['strength']:.2f}",
                f"{one['spread']:.2f}",
                NOTHING if better is None else _interval(better, digits=2, signed=False),
            )
        )
    tried = "; ".join(f"{strength} {score:.3f}" for strength, score in found["tried"].items())
    return [*lines, "", f"On training prompts, by strength: {tried}.", "", found["verdict"], ""]


def _header(*titles: str) -> list[str]:
    return [_row(*titles), _row(*["---"] * len(titles))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(one: Interval | Sequence[float], *, digits: int = 4, signed: bool = True) -> str:
    sign = "+" if signed else ""
    mean, low, high = one
    return f"{mean:{sign}.{digits}f} ({low:{sign}.{digits}f}, {high:{sign}.{digits}f})"
