"""Loading by name, folder and alias; errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from erm_gym.llm import FrozenLLM, LLMError, load_llm
from erm_gym.llm.tiny import build_tiny_model


def test_the_same_request_gives_the_same_object() -> None:
    llm = load_llm("tiny")
    assert load_llm("tiny") is llm
    assert load_llm("tiny", dtype="bfloat16") is not llm


def test_the_tiny_model_is_seeded_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = build_tiny_model(1), build_tiny_model(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert not torch.equal(build_tiny_model(2).lm_head.weight, first.lm_head.weight)


def test_frozen_means_no_gradient_and_no_dropout() -> None:
    llm = load_llm("tiny")
    assert not any(weight.requires_grad for weight in llm.model.parameters())
    assert not llm.model.training


def test_a_saved_folder_is_the_same_model(tmp_path: Path) -> None:
    llm = load_llm("tiny")
    llm.model.save_pretrained(tmp_path)
    llm.tokenizer.save_pretrained(tmp_path)
    again = load_llm(str(tmp_path))
    assert again.fingerprint == llm.fingerprint
    assert again.end_of_turn == llm.end_of_turn
    prompt = llm.encode_prompt("hello")
    assert again.encode_prompt("hello") == prompt
    assert torch.equal(again.recompute(prompt)[0], llm.recompute(prompt)[0])


def test_a_truncated_weight_file_is_named(tmp_path: Path) -> None:
    llm = load_llm("tiny")
    llm.model.save_pretrained(tmp_path)
    llm.tokenizer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LLMError, match=str(tmp_path)):
        load_llm(str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "smolm2-135m"}, "did you mean 'smollm2-135m'"),
        ({"name": "tiny", "dtype": "float8"}, "float32, bfloat16"),
        ({"name": "tiny", "device": "gpu0"}, "unknown device 'gpu0'"),
        ({"name": "/no/such/folder"}, "cannot load the LM '/no/such/folder'"),
    ],
)
def test_errors_say_what_to_do(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(LLMError, match=message):
        load_llm(**arguments)


def test_prompts_are_checked() -> None:
    llm = load_llm("tiny")
    with pytest.raises(LLMError, match="empty"):
        llm.encode_prompt("  ")
    with pytest.raises(LLMError, match="at most 512"):
        llm.encode_prompt("x" * 600)


@pytest.mark.real_model
def test_the_default_model_writes_sense() -> None:
    llm: FrozenLLM = load_llm(dtype="bfloat16")
    slots = llm.slots(1)
    begun = llm.encode_text("The capital of France is")  # else its first words are a close call
    question = llm.encode_prompt("What is the capital of France?")
    output = slots.prefill([0], [question + begun])
    reply = []
    for _ in range(3):
        token = output.logits.argmax(dim=-1)
        reply.append(int(token))
        output = slots.decode(token)
    assert "Paris" in llm.decode(reply)
    assert (llm.hidden_size, llm.layer) == (576, 16)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_weight_is_counted_once(dtype: str) -> None:
    """Packed or not; the LM head of some models is their embedding."""
    llm = load_llm("tiny", dtype=dtype)
    plain = AutoModelForCausalLM.from_config(llm.model.config)
    assert llm.num_parameters == plain.num_parameters()
