"""Files of trained heads: weights as safetensors, with the language model that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from erm_gym.feedback.episode import UserError
from erm_gym.llm import FrozenLLM

SHIPPED_WEIGHTS = Path(str(files("erm_gym.feedback") / "weights"))
"""Folder of the heads that come with the package."""


NOTHING: Mapping[str, str] = MappingProxyType({})


def head_file(name: str, folder: Path) -> Path:
    """The file of a head in a folder."""
    return folder / f"{name}.safetensors"


def save_head(
    head: nn.Module,
    name: str,
    folder: Path,
    *,
    llm_fingerprint: str,
    more: Mapping[str, str] = NOTHING,
) -> Path:
    """Writes NAME.safetensors.

    Args:
        head: The trained head.
        name: The user that it belongs to.
        folder: Where the file is written; it is made if it is not there.
        llm_fingerprint: `FrozenLLM.fingerprint` of the model whose hidden states it reads.
        more: What else is to be known of it.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = head_file(name, folder)
    save_file(head.state_dict(), path, {"llm_fingerprint": llm_fingerprint, **more})
    path.chmod(0o644)  # safetensors makes files that nobody else can read
    return path


def read_head(
    name: str, folder: Path, *, of: str, again: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights of a head, and what `save_head` wrote of it.

    Args:
        name: Name of the file.
        folder: Where it is.
        of: What the head belongs to, for messages.
        again: How to train one, for messages.

    Raises:
        UserError: If there is no such file, or it is damaged.
    """
    path = head_file(name, folder)
    try:
        with safe_open(path, framework="pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return weights, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{of} cannot read its weights {path}: {error}; {again}") from error


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
    weights, metadata = read_head(name, folder, of=f"the user {name!r}", again=again)
    path = head_file(name, folder)
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
