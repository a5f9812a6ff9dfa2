"""`erm-gym doctor`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

import pytest

import erm_gym.llm
from erm_gym.cli import doctor
from erm_gym.cli.doctor import Doctor, check_package, check_shipped_critic, folder_size
from erm_gym.llm import DEFAULT_LLM, LLMError
from tests.cli.conftest import Run


def test_a_sound_installation_passes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERM_GYM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "result.json"
    finished = run("doctor", "--llm", "tiny", "--json", path)
    assert finished.code == 0
    assert "FAIL" not in finished.out
    result = json.loads(path.read_text())
    assert result["passed"]
    assert finished.out.count("PASS") == len(result["checks"])
    details = {check["name"]: check["detail"] for check in result["checks"]}
    assert details["python"] == sys.version.split()[0]
    assert details["language model"].startswith("tiny, from built in code")
    assert str(tmp_path / "cache") in details["cache"]
    assert "untrained" in details["critic"]


def test_what_is_not_as_it_should_be_is_told_with_its_fix(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ERM_GYM_CACHE", str(tmp_path / "file"))
    finished = run("doctor", "--llm", "tinny")
    assert finished.code == 1
    assert finished.out.count("FAIL") == 2
    assert "fix: set ERM_GYM_CACHE" in finished.out
    assert "did you mean 'tiny'?" in finished.out
    assert "2 of" in finished.out


def test_no_model_loads_no_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_llm(name: str) -> NoReturn:
        raise LLMError(name)

    monkeypatch.setattr(erm_gym.llm, "load_llm", load_llm)
    assert "language model" not in run("doctor", "--no-model").out
    assert f"{DEFAULT_LLM}: {DEFAULT_LLM}" in run("doctor").out


def test_the_default_model_is_the_libraries() -> None:
    assert Doctor().llm == DEFAULT_LLM


def test_a_missing_package_fails() -> None:
    assert check_package("torch").passed
    assert not check_package("no-such-distribution").passed


def test_only_the_default_models_critic_must_be_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("erm_gym.emotion.shipped_names", lambda: [])
    assert not check_shipped_critic(DEFAULT_LLM).passed
    assert check_shipped_critic("tiny").passed
    monkeypatch.setattr("erm_gym.emotion.shipped_names", lambda: [DEFAULT_LLM])
    assert check_shipped_critic(DEFAULT_LLM).passed


def test_a_damaged_judge_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "judge.safetensors"
    monkeypatch.setattr(doctor, "judge_weights", lambda: path)
    assert not doctor.check_shipped_judge("tiny").passed
    path.write_bytes(b"not safetensors")
    check = doctor.check_shipped_judge("tiny")
    assert not check.passed
    assert str(path) in check.detail


def test_the_size_of_a_folder_counts_no_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "file")
    assert folder_size(tmp_path) == 5
