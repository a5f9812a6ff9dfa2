"""`erm-gym users serve`, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from erm_gym.cli.serve import ServeUser
from erm_gym.feedback import Episode, Prompt, UserError, make_user
from erm_gym.feedback.users.remote import RemoteUser
from erm_gym.llm import load_llm

PROGRAM = """
import signal
from rich.console import Console
from erm_gym.cli.serve import ServeUser
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal
outcome = ServeUser(user="risk-averse", port=0, llm="tiny").run(Console(width=200))
print(outcome.exit_code, outcome.result["user"])
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(end: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"serving: risk-averse at (http://127\.0\.0\.1:\d+/)\n", line)
        assert found, line
        llm = load_llm("tiny")
        episodes = [Episode(prompt=Prompt(text="May I?", risk=1.0), reply="No", seed=3)]
        remote = RemoteUser.for_llm(llm, url=found[1])
        here = make_user("risk-averse", llm)(episodes, np.random.default_rng(0))
        assert remote(episodes, np.random.default_rng(0)) == here
        process.send_signal(end)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert out.splitlines()[-2:] == ["stopped", "0 risk-averse"]
    assert err == ""


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UserError, match="'NO_SUCH_KEY' holds no key"):
        ServeUser(user="risk-averse", llm="tiny", api_key_env="NO_SUCH_KEY").run(Console())
