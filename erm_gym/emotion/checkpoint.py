"""Files of a saved critic: what they hold, and the checks on the way back in.

A folder has `config.json` (a `CriticConfig`) and `model.safetensors`. Weights that were never
trained are left out of the second: a part of the critic that still equals its seeded start is
named in the file's metadata and built again from `CriticConfig.seed`. Token categories are stored
as token ids, and the learned bias on tokens as the weights that are not 0. So a critic is a small
file, whatever the vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erm_gym.emotion.categories import CATEGORIES
from erm_gym.emotion.config import CriticConfig, CriticError

if TYPE_CHECKING:
    from erm_gym.emotion.critic import EmotionalCritic
    from erm_gym.llm import FrozenLLM

    Critic = TypeVar("Critic", bound=EmotionalCritic)

SHIPPED = Path(__file__).parent / "weights"
"""Folder of the critics that come with the package, one folder per language model."""
PARTS = (
    "erm.",
    "fear_module.danger_net.",
    "fear_module.pain_net.",
    "modulator.W",
    "modulator.scale",
)
"""Prefixes of the weights that are stored, or left out, together."""
BIAS = "modulator.W"
"""Contrastive training leaves most of it at 0: stored are `.indices` `[2, N]` int64, emotion and
token of each other weight, and `.values` `[N]`."""
MASKS = tuple(f"modulator.{name}" for name in CATEGORIES)


def shipped_names() -> list[str]:
    """Return the names of the critics that come with the package."""
    return sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{constants.CONFIG_NAME}"))


def locate(name: str | Path) -> str:
    """Return the folder of a shipped critic, or the folder or hub id itself for any other."""
    return str(SHIPPED / name) if str(name) in shipped_names() else str(name)


def save(critic: EmotionalCritic, folder: Path) -> None:
    """Write the two files of a critic into an existing folder."""
    weights, start = _weights(critic), _weights(type(critic)(critic.config))
    initial: list[str] = []
    for part in PARTS:
        names = [name for name in weights if name.startswith(part)]
        if all(torch.equal(weights[name], start[name]) for name in names):
            initial += names
    tensors = {name: tensor for name, tensor in weights.items() if name not in initial}
    if BIAS in tensors:
        bias = tensors.pop(BIAS)
        indices = bias.view(torch.int32).nonzero().T.contiguous()  # by their bits: -0.0 is kept
        tensors |= {f"{BIAS}.indices": indices, f"{BIAS}.values": bias[indices[0], indices[1]]}
    for category in CATEGORIES:
        tensors[f"category.{category}"] = critic.modulator.category(category).cpu()
    metadata = {"format": "pt", "initial": json.dumps(initial)}
    save_file(tensors, folder / constants.SAFETENSORS_SINGLE_FILE, metadata)
    text = json.dumps(asdict(critic.config), indent=2) + "\n"
    (folder / constants.CONFIG_NAME).write_text(text, encoding="utf-8")


def load(cls: type[Critic], model_id: str, config: dict[str, Any] | None, **hub: Any) -> Critic:
    """Build a critic from its files, on the CPU.

    Args:
        cls: Class of the critic.
        model_id: Folder or hub id.
        config: Contents of its `config.json`; None if there is none.
        hub: Options of `huggingface_hub.hf_hub_download`.

    Raises:
        CriticError: A file is missing, damaged, or does not fit the other.
    """
    if config is None:
        raise CriticError(
            f"{model_id} has no {constants.CONFIG_NAME}; give a folder written by "
            f"`save_pretrained`, a hub id, or one of {shipped_names()}."
        )
    folder = Path(model_id)
    local = folder / constants.SAFETENSORS_SINGLE_FILE
    file = (
        local
        if folder.is_dir()
        else Path(hf_hub_download(model_id, constants.SAFETENSORS_SINGLE_FILE, **hub))
    )
    try:
        critic = cls(CriticConfig.from_dict(config))
    except ValueError as error:
        raise CriticError(
            f"The {constants.CONFIG_NAME} beside {file} is not a critic's: {error}. Correct it, or "
            "save the critic again."
        ) from error
    again = "Copy or download it again, or save the critic again."
    try:
        with safe_open(file, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            initial = set(json.loads((stored.metadata() or {}).get("initial", "[]")))
    except FileNotFoundError as error:
        raise CriticError(f"{file} is missing. {again}") from error
    except (SafetensorError, json.JSONDecodeError) as error:
        raise CriticError(f"{file} is truncated or damaged ({error}). {again}") from error
    try:
        for category in CATEGORIES:
            ids = tensors.pop(f"category.{category}")
            critic.modulator.set_category(category, ids)
        if f"{BIAS}.indices" in tensors:
            indices, values = (tensors.pop(f"{BIAS}.{part}") for part in ("indices", "values"))
            tensors[BIAS] = _dense(indices, values, critic.modulator.W.shape)
        missing, unexpected = critic.load_state_dict(tensors, strict=False)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise CriticError(
            f"{file} does not fit the {constants.CONFIG_NAME} beside it (hidden size "
            f"{critic.config.hidden_size}, vocabulary {critic.config.vocab_size}): {reason}. Keep "
            "the two files of one critic together, or save the critic again."
        ) from error
    if unexpected or set(missing) - set(MASKS) != initial:
        raise CriticError(f"{file} lacks weights of a critic, or has foreign ones. {again}")
    return critic


def check_llm(config: CriticConfig, llm: FrozenLLM, source: str) -> None:
    """Raise unless a critic was made for a language model.

    Args:
        config: The critic's configuration.
        llm: The language model that it is to read.
        source: Where the critic came from, for the message.

    Raises:
        CriticError: Sizes, fingerprint or layer differ.
    """
    pairs = {
        "hidden size": (config.hidden_size, llm.hidden_size),
        "vocabulary size": (config.vocab_size, llm.vocab_size),
        "fingerprint": (config.llm_fingerprint, llm.fingerprint),
        "layer": (config.layer, llm.layer),
    }
    for what, (own, other) in pairs.items():
        if own != other:
            raise CriticError(
                f"The critic {source!r} was made for the language model {config.llm_name!r}, not "
                f"for {llm.name!r}: {what} {own} and not {other}. Load the model it was made for, "
                "or make a new critic with EmotionalCritic.for_llm(llm)."
            )


@contextmanager
def readable_errors(source: str) -> Iterator[None]:
    """Turn what can go wrong on the way to a file into a CriticError that names the choices."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise CriticError(
            f"The {constants.CONFIG_NAME} of {source!r} is not JSON ({error}). Copy or download it "
            "again, or save the critic again."
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CriticError(
            f"No critic at {source!r}: it is not a folder, not one of the critics that come with "
            f"the package ({shipped_names()}), and the hub does not give it ({error}). Save one "
            "there with `save_pretrained`, or correct the name."
        ) from error


def _weights(critic: EmotionalCritic) -> dict[str, Tensor]:
    """Return the parameters by name, float32 on the CPU; the masks are stored as token ids."""
    state = critic.state_dict()
    return {
        name: tensor.to("cpu", torch.float32).contiguous()
        for name, tensor in state.items()
        if name not in MASKS
    }


def _dense(indices: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """Return the matrix of a shape that has values `[N]` at indices `[2, N]`, and 0 elsewhere."""
    limits = torch.tensor(shape)[:, None]
    if indices.shape != (2, len(values)) or not bool(((indices >= 0) & (indices < limits)).all()):
        raise ValueError(f"the weights of {BIAS} are not at places within {tuple(shape)}")
    dense = torch.zeros(shape)
    dense[indices[0], indices[1]] = values
    return dense
