"""Files of prompts of one's own: columns, JSON Lines, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from erm_gym.feedback.prompts import Prompt, PromptError, is_shipped, load_prompts

QUESTIONS = 'id,question,harm,note,split\n1,"May I, please?",0.25,x,dev\n2,How?,1,,dev\n'
EXPECTED = (
    Prompt(text="May I, please?", risk=0.25, prompt_id="1"),
    Prompt(text="How?", risk=1.0, prompt_id="2"),
)
COLUMNS = {"text": "question", "risk": "harm", "prompt_id": "id", "split": ""}
QUERY = "?text=question&risk=harm&prompt_id=id&split="


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.csv"
    path.write_text(QUESTIONS, encoding="utf-8")
    return path


def test_columns_have_names_of_ones_own(csv_file: Path) -> None:
    assert load_prompts(csv_file, columns=COLUMNS).prompts == EXPECTED
    assert load_prompts(str(csv_file), columns=COLUMNS).prompts == EXPECTED
    assert load_prompts(f"{csv_file}{QUERY}").prompts == EXPECTED


def test_fields_that_are_not_named_are_read_by_their_own_name(csv_file: Path) -> None:
    csv_file.write_text("question,risk,domain\nWhy?,0.9,law\n", encoding="utf-8")
    (prompt,) = load_prompts(csv_file, columns={"text": "question"})
    assert prompt == Prompt(text="Why?", risk=0.9, domain="law")
    (prompt,) = load_prompts(f"{csv_file}?text=question&domain=")
    assert prompt == Prompt(text="Why?", risk=0.9)


def test_a_file_that_spreadsheets_write_is_read(csv_file: Path) -> None:
    csv_file.write_bytes("\ufefftext;risk\r\n".replace(";", ",").encode() + b"Hi,0.5\r\n\r\n")
    assert load_prompts(csv_file).prompts == (Prompt(text="Hi", risk=0.5),)


def test_a_name_with_a_question_mark_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "what?text=question"
    path.write_text("text\nHi\n", encoding="utf-8")
    assert load_prompts(str(path)).prompts == (Prompt(text="Hi"),)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?text=qestion", r"no column 'qestion' for the text; did you mean 'question'\?"),
        ("?text=question&risk=danger", "no column 'danger' for the risk; there are"),
        ("?txt=question", r"a prompt has no 'txt'; did you mean 'text'\?"),
        ("?text=question&part=train", "a prompt has no 'part'"),
        ("?text=question&text=note", "names 'text' twice"),
        ("?text", "cannot read 'text' in .*; write .*questions.csv.text=COLUMN&risk=COLUMN"),
        ("?text=", "the column of the text must be named"),
        ("?text=note", "line 3: prompt '' is empty"),
        ("?text=question&risk=note", r"line 2: risk \(column 'note'\) must be a number, got 'x'"),
        ("?text=question", "line 2: split must be one of .* got 'dev'"),
        ("", "header must hold 'text'.*Other names can be given: questions.csv.text=COLUMN"),
    ],
)
def test_a_wrong_column_names_the_fix(csv_file: Path, query: str, message: str) -> None:
    if query == "?text=note":
        query += "&split="
    with pytest.raises(PromptError, match=message):
        load_prompts(f"{csv_file}{query}")


def test_columns_are_for_what_has_columns(csv_file: Path) -> None:
    for source in (["Hi"], load_prompts(["Hi"])):
        with pytest.raises(PromptError, match="columns are for files"):
            load_prompts(source, columns={"text": "question"})
    with pytest.raises(PromptError, match="of your own"):
        load_prompts("default", columns={"text": "question"})
    with pytest.raises(PromptError, match="not in both"):
        load_prompts(f"{csv_file}{QUERY}", columns=COLUMNS)
    with pytest.raises(PromptError, match=r"a prompt has no 'txt'; did you mean 'text'\?"):
        load_prompts(csv_file, columns={"txt": "question"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,risk\nfine,0\nbad,nan\n", r"line 3: risk must be in \[0, 1\], got nan"),
        (b"text,risk\nfine,0\nbad,-0.1\n", "line 3: risk must be .* got -0.1"),
        (b"text,risk\nfine,0\nbad\n", "line 3: 1 values for 2 columns; put a text with a comma"),
        (b"text,risk\nWell, no,0\n", "line 2: 3 values for 2 columns"),
        (b'text,risk\n"fine",0\n"cut off', "line 3: .*quotation mark"),
        (b'text\n"a" b\n', "line 2: .*quotation mark"),
        (b"text,text\na,b\n", "two columns are called 'text'"),
        (b"text\nfine\n\xdcber\n", "line 3: the byte 0xdc is not UTF-8; save the file in"),
        (b"text,weight\nbad,-1\n", "line 2: weight must be finite"),
        (
            b"text,pair_id,split\na,p,train\nb,q,test\nc,p,test\n",
            "line 4: the pair 'p' is in the split 'test' here and in 'train' in .*line 2; give",
        ),
        (b"\n\n", "header must hold 'text'"),
    ],
)
def test_a_bad_csv_file_names_the_line_and_the_fix(
    csv_file: Path, content: bytes, message: str
) -> None:
    csv_file.write_bytes(content)
    with pytest.raises(PromptError, match=f"(?s)questions.csv.*{message}"):
        load_prompts(csv_file)


# -- JSON Lines ------------------------------------------------------------------------------------


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.ndjson", "PROMPTS.JSONL"])
def test_json_lines_load(tmp_path: Path, name: str) -> None:
    rows: tuple[Any, ...] = (
        {"text": "Über\u2028all", "risk": 1, "domain": "law", "pair_id": 7},
        {"text": "Hi", "risk": False, "domain": None},
        {"text": "Ho"},
    )
    path = lines(tmp_path / name, *rows)
    path.write_text(path.read_text() + "\n  \n" + json.dumps({"text": "He"}))
    expected = (
        Prompt(text="Über\u2028all", risk=1.0, domain="law", pair_id="7"),
        Prompt(text="Hi", risk=0.0),
        Prompt(text="Ho"),
        Prompt(text="He"),
    )
    assert load_prompts(path).prompts == expected


def test_separators_inside_of_strings_end_no_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"text": "one\u2028line\x85here"}\n', encoding="utf-8")
    assert load_prompts(path).prompts == (Prompt(text="one\u2028line\x85here"),)


def test_keys_have_names_of_ones_own(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "prompts.jsonl", {"q": "How?", "harm": 0.75, "who": 3}, {"q": "Why?", "harm": 0}
    )
    expected = (Prompt(text="How?", risk=0.75), Prompt(text="Why?"))
    assert load_prompts(f"{path}?text=q&risk=harm").prompts == expected
    assert load_prompts(path, columns={"text": "q", "risk": "harm"}).prompts == expected


@pytest.mark.parametrize(
    ("content", "query", "message"),
    [
        ('{"text": "a"}\n{"text": "b', "", "line 2 is no JSON .*cut off: write it anew"),
        ('{"text": "a"\n{"text": "b"}\n', "", "line 1 is no JSON .*; mend it"),
        ('{"text": "a"}\n["b"]\n', "", r"line 2 must be an object .* got \['b'\]"),
        ('{"text": "a"}\n\n{"text": ""}\n', "", "line 3: prompt '' is empty"),
        ('{"text": "a"}\n{"text": 3}\n', "", "line 2: text must be text, got 3"),
        ('{"text": "a"}\n{"risk": 1}\n', "", "line 2: text must be text, got None"),
        ('{"text": "a", "risk": NaN}\n', "", r"line 1: risk must be in \[0, 1\], got nan"),
        ('{"text": "a", "risk": null}\n', "", "line 1: risk must be a number, got None"),
        ('{"text": "a", "risk": "high"}\n', "", "line 1: risk must be a number, got 'high'"),
        ('{"text": "a", "risk": 1' + "0" * 400 + "}\n", "", "line 1: risk must be a number"),
        ('{"text": "a", "rsik": 1}\n', "", "keys must hold 'text'.*it holds .*'rsik'"),
        ('{"q": "a"}\n', "", "keys must hold 'text'.*prompts.jsonl.text=KEY"),
        ('{"q": "a"}\n', "?text=p", "no column 'p' for the text"),
        (
            '{"q": "a", "h": 1}\n{"q": "b"}\n',
            "?text=q&risk=h",
            r"line 2: risk \(column 'h'\) must be a number, got None",
        ),
        ("\n \n", "", "holds no prompt; write at least one"),
        ("", "", "holds no prompt"),
    ],
)
def test_bad_json_lines_name_the_line(
    tmp_path: Path, content: str, query: str, message: str
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PromptError, match=f"(?s)prompts.jsonl.*{message}"):
        load_prompts(f"{path}{query}")


def test_other_formats_name_their_reader(tmp_path: Path) -> None:
    path = tmp_path / "prompts.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(PromptError, match=f"neither CSV nor JSON Lines; .*hub:{tmp_path}"):
        load_prompts(path)


def test_pools_of_the_package_are_joined() -> None:
    default, phrasings = load_prompts("default"), load_prompts("phrasings")
    assert load_prompts("default+phrasings").prompts == default.prompts + phrasings.prompts
    assert load_prompts("default+default") == default
    assert [is_shipped(name) for name in ("default+intermediate", "default+x", "x", "", 3)] == [
        *(True, False, False, False, False)
    ]
