"""Batched values of any space: one row of infos, containment, and where two values differ."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


def row_info(infos: dict[str, Any], row: int) -> dict[str, Any]:
    return {
        key: row_info(value, row) if isinstance(value, dict) else value[row]
        for key, value in infos.items()
        if f"_{key}" in infos and infos[f"_{key}"][row]
    }


def outside(space: gym.Space[Any], value: Any, path: str) -> str | None:
    """What is wrong with a batched value, if anything."""
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or set(value) != set(space.spaces):
            return f"{path} must be a dict with the keys {list(space.spaces)}"
        parts = ((outside(space[key], value[key], f"{path}[{key!r}]")) for key in value)
        return next((part for part in parts if part), None)
    if (
        isinstance(space.dtype, np.dtype)
        and isinstance(value, np.ndarray)
        and (value.shape != space.shape or value.dtype != space.dtype)
    ):
        return (
            f"{path} must have shape {space.shape} and dtype {space.dtype}, got "
            f"{value.shape} and {value.dtype}"
        )
    return None if space.contains(value) else f"{path} must be in {space}"


def scribble_over(value: Any) -> None:
    """Writes nonsense into every array that can be written to."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.flags.writeable and value.dtype == bool:
            np.logical_not(value, out=value)
        elif value.flags.writeable and np.issubdtype(value.dtype, np.number):
            value.fill(77)
    elif isinstance(value, (list, tuple, np.ndarray)):
        for part in value:
            scribble_over(part)


def difference(one: Any, other: Any, tolerance: float, path: str = "") -> str | None:
    """Where two values differ: floating point beyond the tolerance, everything else at all."""
    if is_dataclass(one) and not isinstance(one, type) and type(one) is type(other):
        one, other = (
            {f.name: getattr(each, f.name) for f in fields(each)} for each in (one, other)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        if set(one) != set(other):
            return f"{path} has the keys {sorted(one)} or {sorted(other)}"
        parts = [(one[key], other[key], f"{path}[{key!r}]") for key in one]
    elif _is_sequence(one) and _is_sequence(other):
        if len(one) != len(other):
            return f"{path} has {len(one)} or {len(other)} parts"
        parts = [(a, b, f"{path}[{n}]") for n, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return None if _equal(one, other, tolerance) else f"{path} is {one!r} or {other!r}"
    found = (difference(a, b, tolerance, place) for a, b, place in parts)
    return next((place for place in found if place), None)


def _is_sequence(value: Any) -> bool:
    objects = isinstance(value, np.ndarray) and value.dtype == object
    return objects or isinstance(value, (list, tuple))


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    if all(isinstance(each, (bool, int, float, np.generic, np.ndarray)) for each in (one, other)):
        a, b = np.asarray(one), np.asarray(other)
        if a.shape == b.shape and a.dtype.kind == "f" and b.dtype.kind == "f":
            return np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
        return np.array_equal(a, b)
    # What cannot tell whether it equals another, such as a tensor, is left alone.
    equal = one == other
    return equal is not False
