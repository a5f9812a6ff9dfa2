"""Prompts from data sets, which the test writes with the library that reads them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from erm_gym.feedback.prompts import Prompt, PromptError, load_prompts

datasets = pytest.importorskip("datasets")

TRAIN = {"question": ["May I?", "How?"], "harm": [0.0, 0.75], "topic": ["law", "money"]}
TEST = {"question": ["Why?"], "harm": [1.0], "topic": ["law"]}
QUERY = "?text=question&risk=harm&domain=topic"
EXPECTED = (
    Prompt(text="May I?", domain="law"),
    Prompt(text="How?", risk=0.75, domain="money"),
    Prompt(text="Why?", risk=1.0, domain="law", split="test"),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is written outside the test, and nothing is asked of the hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set with two splits, as the hub keeps them."""
    place = tmp_path / "set"
    place.mkdir()
    for name, rows in (("train", TRAIN), ("test", TEST)):
        datasets.Dataset.from_dict(rows).to_parquet(place / f"{name}-00000-of-00001.parquet")
    return place


def test_a_folder_of_parquet_files_loads(folder: Path) -> None:
    assert load_prompts(f"hub:{folder}{QUERY}").prompts == EXPECTED
    columns = {"text": "question", "risk": "harm", "domain": "topic"}
    assert load_prompts(f"hub:{folder}", columns=columns).prompts == EXPECTED
    assert load_prompts(f"hub:{folder}{QUERY}&part=test").prompts == EXPECTED[2:]


def test_what_was_saved_to_disk_loads(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict(TRAIN)
    rows.save_to_disk(tmp_path / "one")
    assert load_prompts(f"hub:{tmp_path / 'one'}{QUERY}").prompts == EXPECTED[:2]
    both = datasets.DatasetDict({"train": rows, "test": datasets.Dataset.from_dict(TEST)})
    both.save_to_disk(tmp_path / "two")
    assert load_prompts(f"hub:{tmp_path / 'two'}{QUERY}").prompts == EXPECTED


def test_a_split_of_its_own_goes_before_the_part(tmp_path: Path) -> None:
    rows = {"text": ["a", "b"], "split": ["validation", "test"], "extra": [1, 2]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "set")
    assert [one.split for one in load_prompts(f"hub:{tmp_path / 'set'}")] == ["validation", "test"]
    assert {one.split for one in load_prompts(f"hub:{tmp_path / 'set'}?split=")} == {"train"}


def test_a_pair_that_two_parts_share_is_named(tmp_path: Path) -> None:
    parts = {
        "train": datasets.Dataset.from_dict({"text": ["a", "b"], "pair_id": ["p", ""]}),
        "test": datasets.Dataset.from_dict({"text": ["c", "d"], "pair_id": ["", "p"]}),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    name = f"hub:{tmp_path / 'set'}"
    with pytest.raises(
        PromptError, match=r"test, row 1: the pair 'p' is in the split 'test'.*train, row 0"
    ):
        load_prompts(name)
    assert len(load_prompts(f"{name}?part=test")) == 2
    assert len(load_prompts(f"{name}?pair_id=")) == 4


def test_classes_and_truth_values_are_risks(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "toxic": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "toxic": [0, 1]}, features=features)
    rows.save_to_disk(tmp_path / "set")
    assert [one.risk for one in load_prompts(f"hub:{tmp_path / 'set'}?risk=toxic")] == [0.0, 1.0]


def test_parts_of_other_names_are_asked_for(tmp_path: Path) -> None:
    parts = {"train_sft": datasets.Dataset.from_dict({"text": ["a"]})}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    name = f"hub:{tmp_path / 'set'}"
    assert load_prompts(f"{name}?part=train_sft").prompts == (Prompt(text="a"),)
    with pytest.raises(PromptError, match=r"say which part .*part=train_sft; there are \['train_"):
        load_prompts(name)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?text=qestion", r"no column 'qestion' for the text; did you mean 'question'\?"),
        ("", r"columns must hold 'text'.*it holds \['harm', 'question', 'topic'\].*hub:"),
        ("?text=harm", "set, train, row 0: text .*must be text, got 0.0"),
        ("?text=question&risk=topic", "train, row 0: risk .*must be a number, got 'law'"),
        (f"{QUERY}&part=tets", r"no part 'tets'; did you mean 'test'\?"),
        ("?text=question&sbset=x", r"has no 'sbset'; did you mean 'subset'\?"),
    ],
)
def test_what_is_wrong_with_a_data_set_is_named(folder: Path, query: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        load_prompts(f"hub:{folder}{query}")


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"cannot load the data set 'nobody/nothing'.*hub:FOLDER"):
        load_prompts("hub:nobody/nothing?text=question")
    with pytest.raises(PromptError, match=r"cannot load the data set .*none"):
        load_prompts(f"hub:{tmp_path / 'none'}")


def test_broken_files_of_a_data_set_are_named(tmp_path: Path) -> None:
    place = tmp_path / "broken"
    place.mkdir()
    (place / "train.jsonl").write_text('{"text": "a"}\n{"text": "b\n')
    with pytest.raises(PromptError, match=r"cannot load the data set .*broken.*; mend its files"):
        load_prompts(f"hub:{place}")


def test_the_library_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PromptError, match=r"pip install 'erm-gym\[hub\]'"):
        load_prompts("hub:owner/name")
