"""Files of trained heads: weights as safetensors, with the language model that they are for."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from erm_gym.feedback.episode import UserError
from erm_gym.llm import FrozenLLM

SHIPPED_WEIGHTS = Path(str(files("erm_gym.feedback") / "weights"))
"""Folder of the heads that come with the package."""


def save_head(head: nn.Module, name: str, llm: FrozenLLM, folder: Path) -> Path:
    """Writes NAME.safetensors with the LM's fingerprint, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file(head.state_dict(), path, {"llm_fingerprint": llm.fingerprint})
    path.chmod(0o644)  # safetensors makes files that nobody else can read
    return path


def load_head(head: nn.Module, name: str, llm: FrozenLLM, folder: Path, *, again: str) -> None:
    """Gives a head its trained weights.

    Args:
        head: An untrained head of the right form; changed in place.
        name: The user that it belongs to, and the name of the file.
        llm: The frozen LM whose hidden states it reads.
        folder: Where the file is.
        again: How to train one, for messages.

    Raises:
        UserError: If there is none for this LM, or the file is damaged.
    """
    path = folder / f"{name}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the user {name!r} cannot read its weights {path}: {error}; {again}"
        ) from error
    if metadata.get("llm_fingerprint") != llm.fingerprint:
        raise UserError(
            f"the user {name!r} has weights for {metadata.get('llm_fingerprint')!r} in {path}, but "
            f"the LM {llm.name!r} is {llm.fingerprint!r}; {again}"
        )
    try:
        head.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{path} holds no weights of the user {name!r} in this version: {error}; {again}"
        ) from error
