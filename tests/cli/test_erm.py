"""`erm-gym erm train` and `erm-gym erm eval`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from erm_gym.emotion import EmotionalCritic
from erm_gym.emotion.training import tonic
from erm_gym.emotion.training.labels import GOEMOTIONS
from erm_gym.feedback import Prompt, PromptPool, load_prompts
from tests.cli.conftest import Run
from tests.evaluation.test_picture import size

TINY = ("--llm", "tiny", "--dtype", "float32")
FEELINGS = {14: "qqq", 7: "???", 2: "!!!", 17: "ooo", 27: "---"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """200 labelled and 60 rated texts."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [(n, *list(FEELINGS.items())[n % 5]) for n in range(200)]
    lines = [f"{n} {text} {n}\t{label}\tid{n}" for n, label, text in rows]
    (folder / "goemotions_train.tsv").write_text("\n".join(lines) + "\n")
    ratings = [f"{n},{2 + n % 2},3,{2 + n % 3},text {'ooo' if n % 2 else '---'}" for n in range(60)]
    (folder / "emobank_train.csv").write_text("\n".join(["id,V,A,D,text", *ratings]) + "\n")
    return folder


@pytest.fixture(autouse=True)
def _less_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twentieth of the prompts, in pairs, and hardly any training of the tonic state."""
    monkeypatch.setattr(tonic, "STREAMS", 10)
    monkeypatch.setattr(tonic, "STEPS", 5)
    pairs: dict[str, list[Prompt]] = {}
    for prompt in load_prompts("default"):
        pairs.setdefault(prompt.pair_id, []).append(prompt)
    few = PromptPool(tuple(prompt for pair in [*pairs.values()][::20] for prompt in pair))
    monkeypatch.setattr("erm_gym.feedback.critic_fitting.load_prompts", lambda name: few)


def test_a_critic_is_trained_and_measured(run: Run, data: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "critic", tmp_path / "cache"
    options = ("--epochs", 2, "--batch-size", 32, "--members", 1)
    places = ("--data", data, "--out", out, "--cache", cache)
    trained = run("erm", "train", *TINY, *places, *options, "--json", tmp_path / "train.json")
    assert trained.code == 0, trained.err
    assert "reading goemotions_train.tsv: 200/200 texts" in trained.out
    assert "calibration error" in trained.out and "Pearson's r: valence" in trained.out
    report = json.loads((out / "training.json").read_text())
    assert report == json.loads((tmp_path / "train.json").read_text())
    assert len(report["supervised"]["epochs"]) == 2 and report["fear"]["test_auc"] > 0.4
    assert report["modulator"] is None  # the tiny model writes bytes
    critic = EmotionalCritic.from_pretrained(out)
    assert critic.config.trained and critic.config.erm.members == 1

    names = tmp_path / "labels.txt"
    names.write_text("\n".join(GOEMOTIONS))
    files = ("--goemotions", data / "goemotions_train.tsv", "--labels", names)
    rated = ("--emobank", data / "emobank_train.csv")
    pictures = ("--json", tmp_path / "eval.json", "--picture", tmp_path / "picture.png")
    measured = run(
        "erm", "eval", *TINY, "--critic", out, "--cache", cache, *files, *rated, *pictures
    )
    assert measured.code == 0, measured.err
    result = json.loads((tmp_path / "eval.json").read_text())
    assert set(result) == {"emotions", "affect", "labels", "macro_f1", "cost"}
    assert set(result["affect"]) == {"valence", "arousal", "dominance"}
    assert {"auc", "f1", "ap", "ece"} <= set(result["emotions"]["fear"])
    assert size(tmp_path / "picture.png") == (1500, 950)
    assert "The critic has" in measured.out


def test_the_seed_form(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "critic"
    places = ("--data", data, "--out", out, "--cache", tmp_path / "cache")
    assert run("erm", "train", *TINY, *places, "--seed-form", "--epochs", 1).code == 0
    form = EmotionalCritic.from_pretrained(out).config.erm
    assert (form.layers, form.members, form.max_pool, form.activation) == ((2,), 1, False, "relu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--data", "no/such/folder"), "no/such/folder is no folder"),
        (("train", "--data", "empty"), "empty has neither goemotions_train.tsv nor"),
        (("train", "--data", "data", "--layers", "3", "9"), "tiny has layers 0 to 4"),
        (("train", "--data", "data", "--epochs", "0"), "ERMTraining.epochs is 0"),
        (("train", "--data", "data", "--out", "file/critic"), "cannot write file/critic"),
        (("eval",), "name labelled texts with --goemotions"),
        (("eval", "--goemotions", "missing.tsv"), "missing.tsv does not exist"),
        (("eval", "--goemotions", "bad.tsv"), "bad.tsv, line 1: expected text"),
        (("eval", "--goemotions", "bad.tsv", "--labels", "bad.tsv"), "unknown label 'joyy'; did"),
        (("eval", "--emobank", "bad.tsv", "--picture", "p.png"), "--picture needs labelled"),
        (("eval", "--goemotions", "data/goemotions_train.tsv"), "untrained on labels"),
        (("eval", "--emobank", "data/emobank_train.csv"), "reads no valence"),
        (("train", "--data", "data", "--seed-form", "--members", "2"), "the seed's form has one"),
    ],
)
@pytest.mark.usefixtures("data")
def test_what_is_wrong_is_said(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "bad.tsv").write_text("joyy\n")
    finished = run("erm", arguments[0], *TINY, *arguments[1:])
    assert finished.code == 2
    assert message in finished.err and finished.err.count("\n") == 1
