"""A critic beside `generate`: what it feels and does equals a loop by hand."""

from __future__ import annotations

import copy
import gc
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import LogitsProcessor

from erm_gym.emotion import CriticError, CriticState, EmotionalCritic
from erm_gym.llm import FrozenLLM, load_llm
from erm_gym.llm.tiny import build_tiny_model, build_tiny_tokenizer

PROMPTS = ("How do I bake?", "Is it safe?", "Sell all of it now!")
PAD, NEW = 0, 7


@pytest.fixture(scope="module")
def tiny() -> FrozenLLM:
    return load_llm("tiny")


@pytest.fixture
def model() -> Any:
    """A plain transformers model with the weights of the frozen one."""
    return build_tiny_model().eval()


@pytest.fixture
def critic(tiny: FrozenLLM) -> EmotionalCritic:
    """One that feels much, and whose bias on every token depends on it."""
    critic = EmotionalCritic.for_llm(tiny)
    generator = torch.Generator().manual_seed(0)
    nn.init.normal_(critic.erm.heads.weight, std=2.0, generator=generator)
    nn.init.normal_(critic.fear_module.danger_net[-1].weight, generator=generator)  # type: ignore[arg-type]
    nn.init.normal_(critic.modulator.W, std=8.0, generator=generator)
    return critic


def padded(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Rows padded on the left, as `generate` takes them."""
    width = max(map(len, rows))
    ids = torch.tensor([[PAD] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def texts(llm: FrozenLLM, prompts: Sequence[str] = PROMPTS) -> dict[str, Tensor]:
    return padded([llm.encode_text(prompt) for prompt in prompts])


def generate(model: Any, inputs: dict[str, Tensor], **options: Any) -> Tensor:
    """New tokens `[B, T]`; the end of turn does not end a row."""
    config = {"max_new_tokens": NEW, "pad_token_id": PAD, "eos_token_id": 258, "do_sample": False}
    sequences: Tensor = model.generate(**inputs, **{**config, **options})
    return sequences[:, inputs["input_ids"].shape[1] :]


def before_last(inputs: dict[str, Tensor], new: Tensor) -> Tensor:
    """The texts `[B, T]` when the last of the new tokens was chosen."""
    return torch.cat((inputs["input_ids"], new[:, :-1]), 1)


class Recomputing(LogitsProcessor):
    """The same by hand: all of every row is read by the LM again, with no cache and no padding."""

    def __init__(self, model: Any, critic: EmotionalCritic, mask: Tensor, *, skip: int = 0) -> None:
        self.model, self.critic, self.mask, self.skip = model, critic, mask, skip
        self.known: dict[tuple[int, ...], tuple[Any, Tensor, CriticState]] = {}

    @torch.no_grad()
    def felt(self, row: Tensor, prompt_end: int) -> tuple[Any, Tensor, CriticState]:
        """Signals `[1, 6]`, fear `[1, 2]` and state after a text without padding."""
        key = tuple(row.tolist())
        if key not in self.known:
            output = self.model(row[None], output_hidden_states=True, use_cache=False)
            layers = [output.hidden_states[layer] for layer in self.critic.config.layers]
            hidden = torch.stack(layers, 2)
            if len(row) == prompt_end:
                state, new = self.critic.initial_state(1), hidden[:, self.skip :]
            else:
                state, new = self.felt(row[:-1], prompt_end)[2], hidden[:, -1:]
            self.known[key] = self.critic.observe(new, state)
        return self.known[key]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows, width = self.mask.shape
        copies = len(input_ids) // rows  # beams
        lengths = self.mask.sum(1).repeat_interleave(copies)
        signals = torch.stack(
            [
                self.felt(row[width - length :], int(length))[0].tensor[0]
                for row, length in zip(input_ids, lengths, strict=True)
            ]
        )
        return scores + self.critic.bias(signals)


class LastText(LogitsProcessor):
    """Remembers the texts whose last token was chosen last."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.texts = input_ids.clone()
        return scores


def assert_felt(
    processor: Any, oracle: Recomputing, inputs: dict[str, Tensor], texts: Tensor
) -> None:
    """What was felt at every token is what is felt after all that stands before it.

    Args:
        texts: `[B, T]` as they were when the last token was chosen, or `[B * copies, T]`.
    """
    width = inputs["input_ids"].shape[1]
    assert len(processor.signals) == len(processor.fear) == texts.shape[1] - width + 1
    masks = inputs["attention_mask"].repeat_interleave(len(texts) // len(inputs["input_ids"]), 0)
    for number, (text, length) in enumerate(zip(texts, masks.sum(1).tolist(), strict=True)):
        for token, (signals, fear) in enumerate(
            zip(processor.signals, processor.fear, strict=True)
        ):
            by_hand = oracle.felt(text[width - length : width + token], length)
            for felt, expected in (
                (signals.tensor[number], by_hand[0].tensor[0]),
                (fear[number], by_hand[1][0]),
            ):
                torch.testing.assert_close(felt, expected, atol=1e-4, rtol=0)


def test_it_equals_a_loop_by_hand(tiny: FrozenLLM, model: Any, critic: EmotionalCritic) -> None:
    inputs = texts(tiny, PROMPTS[:1])
    ids, written = inputs["input_ids"][0], []
    oracle = Recomputing(model, critic, inputs["attention_mask"])
    with torch.no_grad():
        for _ in range(NEW):
            signals, _, _ = oracle.felt(ids, inputs["input_ids"].shape[1])
            logits = model(ids[None], use_cache=False).logits[0, -1]
            written.append(int((logits + critic.bias(signals)[0]).argmax()))
            ids = torch.cat((ids, torch.tensor(written[-1:])))
    with critic.logits_processor(model) as processor:
        new = generate(model, inputs, logits_processor=[processor])
    assert new[0].tolist() == written
    assert_felt(processor, oracle, inputs, before_last(inputs, new))
    assert not torch.equal(new, generate(model, inputs))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_cache": False},
        {"do_sample": True, "temperature": 1.5},
        {"num_beams": 3},
        {"num_beams": 3, "use_cache": False},
        {"num_return_sequences": 2, "do_sample": True},
        {"cache_implementation": "static"},
        {"prefill_chunk_size": 4},
        {"output_hidden_states": True, "return_dict_in_generate": False},
    ],
    ids=lambda options: ",".join(options) or "greedy",
)
def test_padded_rows_equal_a_recompute_however_tokens_are_chosen(
    tiny: FrozenLLM, model: Any, critic: EmotionalCritic, options: dict[str, Any]
) -> None:
    inputs = texts(tiny)
    oracle = Recomputing(build_tiny_model().eval(), critic, inputs["attention_mask"])
    torch.manual_seed(1)
    expected = generate(model, inputs, logits_processor=[oracle], **options)
    torch.manual_seed(1)
    last = LastText()
    with critic.logits_processor(model) as processor:
        new = generate(model, inputs, logits_processor=[processor, last], **options)
    assert torch.equal(new, expected)
    assert_felt(processor, oracle, inputs, last.texts)


def test_a_row_of_many_is_a_row_alone(tiny: FrozenLLM, model: Any, critic: EmotionalCritic) -> None:
    with critic.logits_processor(model) as processor:
        together = generate(model, texts(tiny), logits_processor=[processor])
        felt = torch.stack([each.tensor for each in processor.signals])
        for row, prompt in enumerate(PROMPTS):
            alone = generate(model, texts(tiny, [prompt]), logits_processor=[processor])
            assert torch.equal(alone[0], together[row])
            own = torch.stack([each.tensor for each in processor.signals])
            torch.testing.assert_close(own[:, 0], felt[:, row], atol=1e-4, rtol=0)


@pytest.mark.parametrize("use_cache", [True, False])
def test_every_generate_starts_afresh(
    tiny: FrozenLLM, model: Any, critic: EmotionalCritic, use_cache: bool
) -> None:
    inputs = texts(tiny)
    with critic.logits_processor(model) as processor:
        calls = [
            generate(model, inputs, logits_processor=[processor], use_cache=use_cache)
            for _ in range(2)
        ]
        assert len(processor.signals) == NEW
        model(**inputs)  # what nobody chooses a token from leaves no trace
        assert isinstance(model(**inputs, return_dict=False), tuple)
        other = generate(
            model, texts(tiny, PROMPTS[1:]), logits_processor=[processor], use_cache=use_cache
        )
    assert torch.equal(*calls)
    assert torch.equal(other, calls[0][1:])


def test_a_text_begun_anew_is_a_prompt_though_it_is_one_token_longer(
    tiny: FrozenLLM, model: Any, critic: EmotionalCritic
) -> None:
    inputs = texts(tiny, PROMPTS[:1])
    with critic.logits_processor(model) as processor:
        new = generate(model, inputs, logits_processor=[processor], max_new_tokens=1)
        longer = padded([torch.cat((inputs["input_ids"], new), 1)[0].tolist()])
        new = generate(model, longer, logits_processor=[processor])
    oracle = Recomputing(model, critic, longer["attention_mask"])
    assert_felt(processor, oracle, longer, before_last(longer, new))


def test_a_text_goes_on_with_its_cache(
    tiny: FrozenLLM, model: Any, critic: EmotionalCritic
) -> None:
    inputs = texts(tiny)
    with critic.logits_processor(model, tonic_fear=0.9) as processor:
        options = {"max_new_tokens": 4, "pad_token_id": PAD, "eos_token_id": 258}
        first = model.generate(
            **inputs, logits_processor=[processor], return_dict_in_generate=True, **options
        )
        felt = processor.fear[-1][:, 1]
        said = torch.tensor([tiny.encode_text(" Go on!")] * 3)
        more = torch.cat((first.sequences, said), 1)
        mask = torch.cat((inputs["attention_mask"], torch.ones(3, 4 + said.shape[1])), 1).long()
        model.generate(
            input_ids=more,
            attention_mask=mask,
            past_key_values=first.past_key_values,
            logits_processor=[processor],
            **options,
        )
    assert len(processor.fear) == 8
    torch.testing.assert_close(processor.fear[4][:, 1], 0.9 * felt)  # one tick, no new beginning


def test_a_cache_that_was_not_watched_is_refused(
    tiny: FrozenLLM, model: Any, critic: EmotionalCritic
) -> None:
    inputs = texts(tiny)
    first = model.generate(
        **inputs, max_new_tokens=4, eos_token_id=258, return_dict_in_generate=True
    )
    mask = torch.cat((inputs["attention_mask"], torch.ones(3, 4)), 1).long()
    with (
        critic.logits_processor(model) as processor,
        pytest.raises(CriticError, match="was not read"),
    ):
        model.generate(
            first.sequences,
            attention_mask=mask,
            past_key_values=first.past_key_values,
            max_new_tokens=2,
            logits_processor=[processor],
        )


@pytest.mark.parametrize("wrong", ["assisted", "guidance", "embeddings"])
def test_what_cannot_be_followed_is_refused(
    tiny: FrozenLLM, model: Any, critic: EmotionalCritic, wrong: str
) -> None:
    inputs: dict[str, Any] = texts(tiny, PROMPTS[:1])
    options: dict[str, Any] = {}
    if wrong == "assisted":
        options["assistant_model"] = build_tiny_model().eval()
    elif wrong == "guidance":
        options["guidance_scale"] = 2.0
    else:
        inputs["inputs_embeds"] = model.get_input_embeddings()(inputs.pop("input_ids"))
    with (
        critic.logits_processor(model) as processor,
        pytest.raises(CriticError, match="A critic follows greedy decoding"),
    ):
        model.generate(**inputs, logits_processor=[processor], max_new_tokens=6, **options)


def test_a_row_of_padding_is_refused(tiny: FrozenLLM, model: Any, critic: EmotionalCritic) -> None:
    inputs = texts(tiny)
    inputs["attention_mask"][1] = 0
    with (
        critic.logits_processor(model) as processor,
        pytest.raises(CriticError, match=r"Rows \[1\]"),
    ):
        generate(model, inputs, logits_processor=[processor])


def test_strength_zero_is_the_model_alone(
    tiny: FrozenLLM, model: Any, critic: EmotionalCritic
) -> None:
    inputs = texts(tiny)
    for options in ({}, {"do_sample": True}, {"num_beams": 2}):
        torch.manual_seed(1)
        plain = generate(model, inputs, **options)
        torch.manual_seed(1)
        with critic.logits_processor(model, strength=0.0) as processor:
            assert torch.equal(
                generate(model, inputs, logits_processor=[processor], **options), plain
            )
        assert processor.signals


def test_scores_by_hand(tiny: FrozenLLM, model: Any, critic: EmotionalCritic) -> None:
    inputs = texts(tiny)
    with critic.logits_processor(
        model, strength=0.5, temperature=True, tonic_fear=0.8
    ) as processor:
        logits = model(**inputs).logits[:, -1]
        scores = processor(inputs["input_ids"], logits)
    [signals] = processor.signals
    assert processor.fear[0][:, 1].tolist() == pytest.approx([0.8] * 3)
    by_hand = (logits + 0.5 * critic.bias(signals)) / critic.temperature(signals)[:, None]
    torch.testing.assert_close(scores, by_hand)


@pytest.mark.parametrize("name", ["strength", "tonic_fear"])
def test_options_out_of_range_are_refused(model: Any, critic: EmotionalCritic, name: str) -> None:
    option: dict[str, Any] = {name: -1.0}
    with pytest.raises(ValueError, match=rf"logits_processor\.{name} is -1"):
        critic.logits_processor(model, **option)


def test_a_frozen_llm_knows_the_beginning_of_its_template(
    tiny: FrozenLLM, critic: EmotionalCritic
) -> None:
    inputs = padded([tiny.encode_prompt(prompt) for prompt in PROMPTS])
    oracle = Recomputing(
        build_tiny_model().eval(), critic, inputs["attention_mask"], skip=len(tiny.template)
    )
    with critic.logits_processor(tiny) as processor:
        new = generate(tiny.model, inputs, logits_processor=[processor])
    assert_felt(processor, oracle, inputs, before_last(inputs, new))
    with critic.logits_processor(tiny) as processor:  # without the template nothing is left out
        inputs = texts(tiny)
        new = generate(tiny.model, inputs, logits_processor=[processor])
    oracle.skip = 0
    assert_felt(processor, oracle, inputs, before_last(inputs, new))


def test_packed_layers_generate_too(critic: EmotionalCritic) -> None:
    llm = load_llm("tiny", dtype="bfloat16")
    inputs = texts(llm)
    plain = build_tiny_model(dtype=torch.bfloat16).eval()
    with critic.logits_processor(llm) as packed, critic.logits_processor(plain) as unpacked:
        generate(llm.model, inputs, logits_processor=[packed], max_new_tokens=1)
        generate(plain, inputs, logits_processor=[unpacked], max_new_tokens=1)
    torch.testing.assert_close(
        packed.signals[0].tensor, unpacked.signals[0].tensor, atol=0.05, rtol=0
    )


def test_a_pipeline_runs(tiny: FrozenLLM, model: Any, critic: EmotionalCritic) -> None:
    tokenizer = build_tiny_tokenizer()
    tokenizer.pad_token_id = PAD
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
        with critic.logits_processor(model) as processor:
            answers = pipeline(
                list(PROMPTS[:2]),
                batch_size=2,
                max_new_tokens=NEW,
                eos_token_id=258,
                do_sample=False,
                return_full_text=False,
                logits_processor=[processor],
            )
    with critic.logits_processor(model) as processor:
        new = generate(model, texts(tiny, PROMPTS[:2]), logits_processor=[processor])
    assert [answer[0]["generated_text"] for answer in answers] == [tiny.decode(row) for row in new]


def test_another_model_is_refused(tiny: FrozenLLM, critic: EmotionalCritic) -> None:
    config = copy.deepcopy(build_tiny_model().config)
    config.num_hidden_layers = 5
    deeper = transformers.LlamaForCausalLM(config)
    wider: Any = build_tiny_model()
    wider.resize_token_embeddings(300, mean_resizing=False)
    other = FrozenLLM(wider, build_tiny_tokenizer(), name="wider", source="code")
    cases: list[tuple[Any, str]] = [
        (deeper, "llama-32-5-259"),
        (wider, "llama-32-4-300"),
        (other, "vocabulary size 259 and not 300"),
        ("tiny", "got a str"),
        (nn.Linear(2, 2), "got a Linear"),
    ]
    for model, message in cases:
        with pytest.raises(CriticError, match=message):
            critic.logits_processor(model)
    assert not hooks(deeper) and not hooks(wider)
    assert critic.config.llm_fingerprint == tiny.fingerprint


def test_a_model_that_another_one_writes_for_is_told(
    tiny: FrozenLLM, model: Any, critic: EmotionalCritic
) -> None:
    with (
        critic.logits_processor(build_tiny_model()) as processor,
        pytest.raises(CriticError, match="Pass the model that generates"),
    ):
        generate(model, texts(tiny), logits_processor=[processor])


def hooks(model: Any) -> list[Any]:
    return [*model._forward_hooks.values(), *model._forward_pre_hooks.values()]


def test_hooks_go_with_the_processor(tiny: FrozenLLM, model: Any, critic: EmotionalCritic) -> None:
    inputs = texts(tiny)
    assert not hooks(model)
    processor = critic.logits_processor(model)
    assert len(hooks(model)) == 2
    processor.close()
    processor.close()
    assert not hooks(model)
    with pytest.raises(CriticError, match="make a new processor where this one was closed"):
        generate(model, inputs, logits_processor=[processor])
    generate(model, inputs, logits_processor=[critic.logits_processor(model)])
    gc.collect()
    assert not hooks(model)
    with critic.logits_processor(model):
        assert len(hooks(model)) == 2
        assert model(**inputs, output_hidden_states=True).hidden_states[0] is not None
    assert not hooks(model)


@pytest.fixture
def lonely(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, FrozenLLM]]:
    """The frozen LMs that are alive: at first none."""
    alive: dict[int, FrozenLLM] = {}
    monkeypatch.setattr("erm_gym.emotion.logits_processor.living_llms", alive)
    yield alive


def test_without_a_model_it_is_the_only_llm_that_fits(
    tiny: FrozenLLM, critic: EmotionalCritic, lonely: dict[int, FrozenLLM]
) -> None:
    with pytest.raises(CriticError, match="no frozen LMs"):
        critic.logits_processor()
    other = FrozenLLM(
        transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=259,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
            )
        ),
        build_tiny_tokenizer(),
        name="other",
        source="code",
    )
    lonely.update({0: other, 1: tiny})
    inputs = texts(tiny)
    with critic.logits_processor() as processor:
        new = generate(tiny.model, inputs, logits_processor=[processor])
    with critic.logits_processor(tiny) as processor:
        assert torch.equal(new, generate(tiny.model, inputs, logits_processor=[processor]))
    twin = FrozenLLM(build_tiny_model(seed=1), build_tiny_tokenizer(), name="twin", source="code")
    lonely[2] = twin
    with pytest.raises(CriticError, match=r"2 frozen LMs.*logits_processor\(model\)"):
        critic.logits_processor()
