from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from erm_gym.evaluation import (
    EpisodeRecord,
    RunError,
    read_json,
    read_records,
    write_json,
    write_records,
)
from erm_gym.evaluation.storage import atomic_path, keep_lines_until, read_lines

Make = Callable[..., EpisodeRecord]


def test_records_come_back_as_they_were(tmp_path: Path, record: Make) -> None:
    records = [record(components={"stance": 0.5}), record(reply="Grüße\n\u2028😀", fear=[])]
    path = tmp_path / "new" / "records.jsonl"
    write_records(path, records)
    assert read_records(path) == records
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2


def test_a_record_that_lacks_a_field_is_named(record: Make) -> None:
    values = record().to_dict()
    assert EpisodeRecord.from_dict({**values, "further": 1}) == record()
    del values["reply"]
    with pytest.raises(RunError, match="'reply'"):
        EpisodeRecord.from_dict(values)


@pytest.mark.parametrize("torn", ['{"steps": 3', '{"steps": 3}', "\x00\x00\n"])
def test_a_torn_last_line_is_left_out(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"steps": 1}\n{"steps": 2}\n' + torn)
    assert read_lines(path) == [{"steps": 1}, {"steps": 2}]


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"steps": 1}\n{"ste\n{"steps": 2}\n')
    with pytest.raises(RunError, match="line 2"):
        read_lines(path)


def test_lines_beyond_a_checkpoint_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"steps": 1}\n{"steps": 2}\n{"other": 1}\n{"steps": 3}\n{"steps":')
    assert keep_lines_until(path, "steps", 2) == [{"steps": 1}, {"steps": 2}]
    assert path.read_text() == '{"steps": 1}\n{"steps": 2}\n'
    assert keep_lines_until(tmp_path / "missing", "steps", 2) == []


def test_a_failed_write_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"a\.json: No space left"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_temporary_file_has_the_same_ending(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "model.zip") as temporary:
        assert temporary.suffix == ".zip"
        temporary.write_text("x")
    assert (tmp_path / "model.zip").read_text() == "x"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"b\.json: No such file"):
        read_json(tmp_path / "b.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(RunError, match=r"b\.json is not JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(RunError, match=r"c\.jsonl: No such file"):
        read_records(tmp_path / "c.jsonl")


def test_a_record_of_before_users_could_be_silent_has_feedback(record: Make) -> None:
    values = record().to_dict()
    del values["given"]
    assert EpisodeRecord.from_dict(values).given
    assert not EpisodeRecord.from_dict({**values, "given": False}).given


def test_a_record_from_before_there_were_held_out_users_is_read(
    tmp_path: Path, record: Make
) -> None:
    values = record().to_dict()
    for name in ("held_out", "held_out_stance", "held_out_components"):
        del values[name]
    (tmp_path / "old.jsonl").write_text(json.dumps(values) + "\n")
    assert read_records(tmp_path / "old.jsonl") == [record()]
