"""What a command says about the critic before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from erm_gym.cli.console import print_notice
from erm_gym.evaluation import RunOptions

if TYPE_CHECKING:
    from erm_gym.llm import FrozenLLM


def introduce(console: Console, options: RunOptions) -> FrozenLLM:
    """Loads the language model, and prints the notice of its critic if that has one.

    Args:
        console: Where it is shown.
        options: What names the two.

    Returns:
        The language model. Keep it: as long as somebody does, nobody has to load it again.
    """
    from erm_gym.envs.text.critic_rows import resolve_critic
    from erm_gym.llm import load_llm

    with console.status(f"Loading {options.llm} ..."):
        llm = load_llm(options.llm, dtype=options.dtype, device=options.device)
        notice = None if options.critic == "none" else resolve_critic(options.critic, llm).notice()
    print_notice(console, notice)
    return llm
