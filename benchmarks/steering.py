"""What steering costs per token: the same decode with and without edits, in turn.

Rows are steered each by its own amount, by a direction at one layer, as `ErmGym/EmotionControl-v0`
does, and by binned signals at two layers, multiplied.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console

from erm_gym.llm import FrozenLLM, Slots, load_llm
from erm_gym.llm.edits import Edits
from erm_gym.steering import ContrastiveDirections, FeedbackConnections

PROMPT = "How was your day?"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time a decode with and without steering."""

    llm: str = "smollm2-135m"
    """Language model."""
    dtype: str = "bfloat16"
    """Its precision."""
    rows: int = 32
    """Rows B."""
    tokens: int = 24
    """Tokens per row and round."""
    rounds: int = 15
    """Rounds, of which the median counts."""
    out: Path | None = None
    """JSON file for the results; by default steering.json beside this file."""


def makers(llm: FrozenLLM, rows: int) -> dict[str, Callable[[], Edits]]:
    """By name what makes the edits of a token; it is timed, too."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(rows, 1, generator=generator)
    direction = ContrastiveDirections(
        emotions=("joy",),
        layers=(16,),
        directions=0.1 * torch.randn(1, 1, llm.hidden_size, generator=generator),
        counts=((1, 1),),
        fingerprint=llm.fingerprint,
    )
    feedback = FeedbackConnections(llm.hidden_size, (14, 16)).requires_grad_(False)
    signals = torch.randn(rows, 2, 128, generator=generator)
    strength = torch.rand(rows, generator=generator)
    return {
        "unsteered": dict,
        "direction": lambda: direction.edits(weights),
        "signals": lambda: {
            layer: feedback.edit(layer, signals, strength) for layer in feedback.layers
        },
    }


def decode(slots: Slots, make: Callable[[], Edits], tokens: int) -> float:
    """Processor seconds of a round."""
    ids = torch.full((slots.num_slots,), 100)
    began = time.process_time()
    for _ in range(tokens):
        slots.decode(ids, edits=make())
    return time.process_time() - began


def main(arguments: Arguments) -> None:
    """Times all in turn and shows the median ratios."""
    torch.set_num_threads(1)  # processor time of idle threads would count
    llm = load_llm(arguments.llm, dtype=arguments.dtype)
    slots = llm.slots(arguments.rows)
    prompt = llm.encode_prompt(PROMPT)
    slots.reserve(len(prompt) + arguments.tokens)
    ways = makers(llm, arguments.rows)
    rounds: list[dict[str, float]] = []
    for _ in range(arguments.rounds + 1):
        found = {}
        for name, make in ways.items():
            slots.prefill(range(arguments.rows), [prompt] * arguments.rows)
            found[name] = decode(slots, make, arguments.tokens) / arguments.tokens
        rounds.append(found)
    console, results = Console(), {}
    for name in ways:
        own = [one[name] for one in rounds[1:]]  # the first warms up
        ratio = statistics.median(one[name] / one["unsteered"] for one in rounds[1:])
        results[name] = {"ms_per_step": 1000 * statistics.median(own), "ratio": ratio}
        console.print(f"{name}: {1000 * statistics.median(own):.1f} ms a step, x {ratio:.3f}")
    options = {key: value for key, value in asdict(arguments).items() if key != "out"}
    out = arguments.out or Path(__file__).with_name("steering.json")
    text = json.dumps({"arguments": options, "steps": results}, indent=2)
    out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
