"""What the packages of users and prompts export, and that what few need is loaded late."""

from __future__ import annotations

import subprocess
import sys

import pytest

from erm_gym import feedback
from erm_gym.feedback import users


def test_every_exported_name_is_there() -> None:
    for package in (feedback, users):
        assert len(set(package.__all__)) == len(package.__all__)
        for name in package.__all__:
            assert getattr(package, name) is not None
    assert set(users._HOMES) <= set(users.__all__)
    with pytest.raises(AttributeError, match="no attribute 'from_tlr'"):
        _ = users.from_tlr


def test_servers_and_bridges_are_loaded_when_they_are_asked_for() -> None:
    code = (
        "import sys; from erm_gym.feedback import users; "
        "late = [f'erm_gym.feedback.users.{name}' for name in ('server', 'trl', 'rubrics')]; "
        "assert not [name for name in late if name in sys.modules], sys.modules; "
        "users.to_trl; assert 'erm_gym.feedback.users.trl' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
