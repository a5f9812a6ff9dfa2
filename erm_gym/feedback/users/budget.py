"""What asking may cost: caps on requests, tokens and money."""

from __future__ import annotations

import math
from dataclasses import dataclass

from erm_gym.feedback.episode import UserError

MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Caps on what one user may spend from when it is made, each 0 for no cap.

    No request begins once a cap is reached. Those that are under way then are finished, so tokens
    and money may exceed their caps by what these cost; the number of requests never does.
    """

    max_requests: int = 0
    """Requests, retries and those without an answer included."""
    max_tokens: int = 0
    """Tokens sent and received, as the endpoint reports them. Where it reports none, each byte
    counts as a token, which is never too few. A request without an answer counts no tokens."""
    max_cost: float = 0.0
    """Money, in the currency of the prices."""
    input_price: float = 0.0
    """Price of a million tokens sent, >= 0."""
    output_price: float = 0.0
    """Price of a million tokens received, >= 0."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: It names the option, its value and what is allowed.
        """
        for name in ("max_requests", "max_tokens", "max_cost", "input_price", "output_price"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise UserError(f"{name} must be at least 0, got {value}")
        if self.max_cost > 0 and self.input_price == self.output_price == 0:
            raise UserError(
                "max_cost needs input_price and output_price, the prices of a million tokens"
            )

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Money that tokens cost."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / MILLION

    def exceeded(self, requests: int, input_tokens: int, output_tokens: int) -> str:
        """Which cap is reached by what was spent, in words; empty if none is."""
        tokens, cost = input_tokens + output_tokens, self.cost(input_tokens, output_tokens)
        if self.max_requests and requests >= self.max_requests:
            return f"max_requests={self.max_requests} is reached"
        if self.max_tokens and tokens >= self.max_tokens:
            return f"max_tokens={self.max_tokens} is reached ({tokens} were used)"
        if self.max_cost and cost >= self.max_cost:
            return f"max_cost={self.max_cost:g} is reached ({cost:.4g} was spent)"
        return ""
