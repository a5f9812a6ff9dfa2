"""Finds the packages; everything else about the distribution is in pyproject.toml.

`agents/` and `envs/` are top-level folders that import as `erm_gym.agents` and `erm_gym.envs`. They
are found by themselves and not through the links in `erm_gym/`, because a source distribution
carries no links.
"""

from setuptools import find_packages, setup

core = find_packages(include=["erm_gym", "erm_gym.*"], exclude=["erm_gym.agents*", "erm_gym.envs*"])
mapped = find_packages(include=["agents", "agents.*", "envs", "envs.*"])

setup(packages=[*core, *(f"erm_gym.{name}" for name in mapped)])
