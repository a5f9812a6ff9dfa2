"""Range checks shared by the configurations of this package."""

from __future__ import annotations

import math


def require_range(owner: str, field: str, value: float, low: float, high: float) -> None:
    """Raise unless `low <= value <= high`.

    Args:
        owner: Name of the configuration class, for the message.
        field: Name of the field, for the message.
        value: The value given by the caller.
        low: Smallest value allowed.
        high: Largest value allowed (`math.inf` for none).

    Raises:
        ValueError: The value is out of range or not a number.
    """
    if math.isnan(value) or not low <= value <= high:
        raise ValueError(f"{owner}.{field} is {value!r}; it must lie between {low} and {high}.")
