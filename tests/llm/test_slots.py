"""Slots: every logit and hidden state equals an uncached recompute, whatever happened before."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
)

from erm_gym.llm import (
    FrozenLLM,
    SlotOutput,
    Slots,
    SlotSnapshot,
    common_prefix,
    load_llm,
    read_layers,
)
from erm_gym.llm.kv_cache import GROWTH, ForwardOutput, Step, TransformersForward
from erm_gym.llm.prefills import Prefill, PrefillMemory
from erm_gym.llm.tiny import build_tiny_tokenizer

NUM_SLOTS = 3
tokens = st.integers(0, 258)
prompts = st.lists(tokens, min_size=1, max_size=80)
rows = st.integers(0, NUM_SLOTS - 1)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=2e-4, rtol=1e-3)


class SlotMachine(RuleBasedStateMachine):
    """Any order of prefills, decodes, refills, snapshots and restores against `recompute`."""

    @initialize(prefix=st.one_of(st.just([]), prompts), templated=st.booleans())
    def start(self, prefix: list[int], templated: bool) -> None:
        self.llm = load_llm("tiny")
        self.prefix = [*self.llm.template, *prefix] if templated else prefix
        self.slots = self.llm.slots(NUM_SLOTS, self.prefix)
        self.texts: list[list[int]] = [[] for _ in range(NUM_SLOTS)]
        self.saved: list[tuple[SlotSnapshot, list[list[int]]]] = []

    def check(self, row: int, output: SlotOutput, index: int) -> None:
        logits, hidden = self.llm.recompute(self.texts[row])
        assert_close(output.logits[index], logits[-1])
        assert_close(output.hidden[index], hidden[-1])

    @rule(row=rows, prompt=prompts)
    def prefill(self, row: int, prompt: list[int]) -> None:
        output = self.slots.prefill([row], [prompt])
        self.texts[row] = list(prompt)
        self.check(row, output, 0)

    @rule(
        several=st.lists(prompts, min_size=NUM_SLOTS, max_size=NUM_SLOTS), templated=st.booleans()
    )
    def prefill_all(self, several: list[list[int]], templated: bool) -> None:
        start = self.prefix or list(self.llm.template) if templated else []
        self.texts = [start + prompt for prompt in several]
        output = self.slots.prefill(range(NUM_SLOTS), self.texts)
        for row in range(NUM_SLOTS):
            self.check(row, output, row)
        self.texts = [list(text) for text in self.texts]

    @precondition(lambda self: any(self.texts))
    @rule(row=rows)
    def refill_with_the_prompt_of_another_row(self, row: int) -> None:
        prompt = max(self.texts, key=len)
        output = self.slots.prefill([row], [prompt])
        self.texts[row] = list(prompt)
        self.check(row, output, 0)

    @precondition(lambda self: any(self.texts))
    @rule(step=st.lists(tokens, min_size=NUM_SLOTS, max_size=NUM_SLOTS), sit_out=rows)
    def decode(self, step: list[int], sit_out: int) -> None:
        active = torch.tensor([bool(text) for text in self.texts])
        if active.sum() > 1:
            active[sit_out] = False
        output = self.slots.decode(torch.tensor(step), active)
        for row in torch.nonzero(active).flatten().tolist():
            self.texts[row].append(step[row])
            self.check(row, output, row)

    @precondition(lambda self: any(self.texts))
    @rule(several=st.lists(st.lists(tokens, max_size=9), min_size=NUM_SLOTS, max_size=NUM_SLOTS))
    def extend(self, several: list[list[int]]) -> None:
        """The rows that get no tokens sit out; the others come in any order."""
        chosen = [row for row in (2, 0, 1) if self.texts[row] and several[row]]
        if not chosen:
            return
        output = self.slots.extend(chosen, [several[row] for row in chosen])
        for index, row in enumerate(chosen):
            self.texts[row] = self.texts[row] + several[row]
            self.check(row, output, index)

    @precondition(lambda self: all(self.texts))
    @rule()
    def snapshot(self) -> None:
        self.saved.append((self.slots.snapshot(), copy.deepcopy(self.texts)))

    @precondition(lambda self: self.saved)
    @rule()
    def restore(self) -> None:
        snapshot, texts = self.saved.pop()
        self.slots.restore(snapshot)
        self.texts = texts


SlotMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestSlotMachine = SlotMachine.TestCase


@pytest.fixture
def llm() -> FrozenLLM:
    return load_llm("tiny")


def filled(llm: FrozenLLM, num_slots: int = 2) -> Slots:
    slots = llm.slots(num_slots)
    slots.prefill(range(num_slots), [llm.encode_prompt("hello")] * num_slots)
    return slots


def test_pooled_is_the_mean_over_the_prompt_without_the_template(llm: FrozenLLM) -> None:
    prompt = llm.encode_prompt("hello")
    _, hidden = llm.recompute(prompt)
    output = llm.slots(1).prefill([0], [prompt])
    assert llm.decode(prompt[len(llm.template) :]).startswith("hello")
    assert_close(output.pooled[0], hidden[len(llm.template) :].mean(dim=0))


SHARED = "You are kind. Say hello to "


@pytest.mark.parametrize("text", [SHARED, "", "You"])
def test_pooled_leaves_out_the_template_whatever_the_prefix(llm: FrozenLLM, text: str) -> None:
    prompts = [llm.encode_prompt(SHARED + name) for name in ("Ann", "Bo")]
    prefix = (*llm.template, *llm.encode_text(text))
    strange = [7, 8, *llm.template, 9]  # starts with neither
    prompts += [llm.encode_prompt("other"), strange, strange[:1], list(prefix), list(llm.template)]
    output = llm.slots(7, prefix).prefill(range(7), prompts)
    for row, prompt in enumerate(prompts):
        _, hidden = llm.recompute(prompt)
        skip = len(llm.template) if row < 3 or (row == 5 and text) else 0
        assert_close(output.pooled[row], hidden[skip:].mean(dim=0))


def test_a_prefix_that_is_no_template_is_content(llm: FrozenLLM) -> None:
    prompts = [[1, 2, 3, 4], [1, 2, 5], llm.encode_prompt("hi")]
    output = llm.slots(3, prefix=[1, 2]).prefill(range(3), prompts)
    for row, skip in enumerate((0, 0, len(llm.template))):
        _, hidden = llm.recompute(prompts[row])
        assert_close(output.pooled[row], hidden[skip:].mean(dim=0))


def test_a_shared_prefix_is_read_once() -> None:
    llm = load_llm("tiny")
    read: list[int] = []
    forward = llm._forward

    def counting(step: Step) -> ForwardOutput:
        read.append(step.ids.numel())
        return forward(step)

    llm._forward = counting
    prompts = [llm.encode_prompt(SHARED + name) for name in ("Ann", "Bob", "Eve")]
    prefix = common_prefix(prompts)
    slots = llm.slots(2, prefix)
    slots.prefill([0, 1], prompts[:2])
    slots.prefill([1], prompts[2:])
    slots.prefill([0, 1], prompts[1:])  # known by now
    own = len(prompts[0]) - len(prefix)
    assert own < 25
    assert read == [len(prefix), 2 * own, own]


def test_common_prefix_leaves_a_token_of_each() -> None:
    assert common_prefix([[1, 2, 3, 4], [1, 2, 5]]) == (1, 2)
    assert common_prefix([[1, 2, 3], [1, 2]]) == (1,)
    assert common_prefix([[1, 2, 3]]) == (1, 2)
    assert common_prefix([[1], [1, 2]]) == ()
    assert common_prefix([[1, 2], [2, 2]]) == ()


def test_extend_pools_the_new_tokens(llm: FrozenLLM) -> None:
    prompt = llm.encode_prompt("hello")
    slots = filled(llm)
    slots.decode(torch.tensor([5, 6]), torch.tensor([True, False]))
    output = slots.extend([1, 0], [[7], [8, 9, 10]])
    for index, (text, new) in enumerate((([*prompt, 7], 1), ([*prompt, 5, 8, 9, 10], 3))):
        logits, hidden = llm.recompute(text)
        assert_close(output.pooled[index], hidden[-new:].mean(dim=0))
        assert_close(llm.model.get_output_embeddings()(output.last[index]), logits[-1])
    assert slots.lengths.tolist() == [len(prompt) + 4, len(prompt) + 1]


def test_the_cache_holds_what_the_longest_row_needs(llm: FrozenLLM) -> None:
    heads, size, layers = 2, 8, 4
    position = 2 * layers * heads * size * 4  # bytes of one row's keys and values, float32
    slots = llm.slots(2)
    assert slots.nbytes() == 0
    slots.prefill([0, 1], [[1] * 48, [2] * 17])
    assert slots.nbytes() == 2 * 48 * position
    slots.decode(torch.tensor([3, 3]))
    assert slots.nbytes() == 2 * (48 + GROWTH) * position
    slots.reserve(100)
    assert slots.nbytes() == 2 * 104 * position
    slots.reserve(5)
    assert slots.nbytes() == 2 * 104 * position


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_states_are_those_of_the_layers_asked_for(kind: str) -> None:
    """Behind the template, of every new position, also of a prompt that is remembered."""
    llm = build(kind)
    layers = (0, 1, llm.num_layers)
    slots = llm.slots(2, layers=layers)
    prompts = [llm.encode_prompt(text) for text in ("a", "somewhat longer")]

    def check(output: SlotOutput, index: int, text: list[int], start: int) -> None:
        [expected] = read_layers(llm, [text], layers, shared=text[:start])
        count = int(output.counts[index])
        assert output.mask[index].tolist() == [t < count for t in range(output.mask.shape[1])]
        assert_close(output.states[index, :count], expected)

    whole = slots.prefill([0, 1], prompts)
    again = slots.prefill([1, 0], prompts).select(torch.tensor([1, 0]))
    for index, prompt in enumerate(prompts):
        check(whole, index, prompt, len(llm.template))
    check(again, 0, prompts[1], len(llm.template))
    check(again, 1, prompts[0], len(llm.template))
    said = [[9], [8, 7, 6]]
    output = slots.extend([0, 1], said)
    texts = [prompts[1] + said[0], prompts[0] + said[1]]
    for index, text in enumerate(texts):
        check(output, index, text, len(text) - len(said[index]))
    output = slots.decode(torch.tensor([5, 4]))
    for index, text in enumerate(texts):
        check(output, index, [*text, 5 - index], len(text))
    assert llm.slots(1).prefill([0], prompts[:1]).states.shape[2] == 0


def test_prompts_used_last_are_remembered_within_the_budget(llm: FrozenLLM) -> None:
    output = llm.slots(1).prefill([0], [[1, 2]])
    one = Prefill(
        start=0, layers={0: (torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))}, output=output
    )
    assert one.nbytes() == (2 * 24 + 259 + 3 * 32) * 4 + 8  # the last is a count
    memory = PrefillMemory(2 * one.nbytes())
    memory.remember((1,), one)
    memory.remember((2,), one)
    assert memory.recall((1,)) is one
    memory.remember((3,), one)
    assert [memory.recall((n,)) is one for n in (1, 2, 3)] == [True, False, True]


def test_row_moves_to_another_slot(llm: FrozenLLM) -> None:
    slots = filled(llm)
    slots.decode(torch.tensor([5, 6]))
    other = llm.slots(1)
    other.restore(slots.snapshot([1]), [0])
    expected, _ = llm.recompute([*llm.encode_prompt("hello"), 6, 7])
    output = other.decode(torch.tensor([7]))
    assert_close(output.logits[0], expected[-1])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_the_last_hidden_state_makes_the_logits(kind: str) -> None:
    llm = build(kind)
    slots = llm.slots(2)
    prompts = [llm.encode_prompt(text) for text in ("a", "longer")]
    first = slots.prefill([0, 1], prompts)
    for output in (first, slots.prefill([1, 0], prompts), slots.decode(torch.tensor([5, 6]))):
        assert output.last.shape == (2, 32)
        assert_close(llm.model.get_output_embeddings()(output.last), output.logits)


def test_errors_name_the_row_and_the_limit(llm: FrozenLLM) -> None:
    slots = llm.slots(2)
    slots.prefill([0], [[1, 2]])
    with pytest.raises(ValueError, match="row 1 is empty"):
        slots.decode(torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="513 tokens"):
        slots.prefill([0], [[1] * 513])
    slots.prefill([0], [[1] * 512])
    with pytest.raises(ValueError, match="full"):
        slots.decode(torch.tensor([1, 1]), torch.tensor([True, False]))
    with pytest.raises(ValueError, match="row 0 is full: it has 512"):
        slots.extend([0], [[1]])
    with pytest.raises(ValueError, match="row 1 is empty"):
        slots.extend([1], [[1]])
    slots.prefill([1], [[1] * 500])
    with pytest.raises(ValueError, match=r"row 1 is full.* cannot take 13 more"):
        slots.extend([1], [[1] * 13])
    with pytest.raises(ValueError, match="row 1 gets no tokens"):
        slots.extend([1], [[]])
    with pytest.raises(ValueError, match="2 slots cannot be extended by 1 "):
        slots.extend([0, 1], [[1]])
    with pytest.raises(ValueError, match="0 slots"):
        slots.extend([], [])
    with pytest.raises(ValueError, match=r"has layers 0 to \d+; layer 99 was asked for"):
        llm.slots(1, layers=(0, 99))
    with pytest.raises(ValueError, match="at least 1"):
        llm.slots(0)
    with pytest.raises(ValueError, match="2 rows"):
        slots.restore(filled(llm).snapshot(), [0])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_full_row_may_sit_out(kind: str) -> None:
    llm = build(kind)
    slots = llm.slots(2)
    slots.prefill([0, 1], [[1] * llm.context_length, [1, 2]])
    output = slots.decode(torch.tensor([0, 3]), torch.tensor([False, True]))
    expected, _ = llm.recompute([1, 2, 3])
    assert_close(output.logits[1], expected[-1])


def test_bfloat16_follows_float32() -> None:
    prompt = load_llm("tiny").encode_prompt("hello there")
    exact, _ = load_llm("tiny").recompute(prompt)
    rounded = load_llm("tiny", dtype="bfloat16").slots(1).prefill([0], [prompt])
    correlation = torch.corrcoef(torch.stack([exact[-1], rounded.logits[0].float()]))[0, 1]
    assert correlation > 0.99


def build(kind: str) -> FrozenLLM:
    """A tiny model of some architecture, with the tiny tokenizer."""
    config: PretrainedConfig
    if kind == "gpt2":
        config = GPT2Config(vocab_size=259, n_embd=32, n_layer=3, n_head=4, n_positions=256)
    else:
        config = {"llama": LlamaConfig, "qwen2": Qwen2Config}[kind](
            vocab_size=259,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    config.initializer_range = 0.3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    return FrozenLLM(model, build_tiny_tokenizer(), name=f"tiny-{kind}", source="a test")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_forwards_of_transformers_equal_a_recompute(kind: str, attention: str) -> None:
    llm = build(kind)
    llm.model.set_attn_implementation(attention)
    slots = Slots(
        TransformersForward(llm.model, llm.layer, llm.context_length),
        3,
        device=llm.device,
        context_length=llm.context_length,
        template=llm.template,
    )
    texts = [llm.encode_prompt(text) for text in ("a", "a longer one", "b")]
    output = slots.prefill(range(3), texts)
    for step in range(8):
        if step == 3:  # one row starts anew while the others go on
            texts[1] = llm.encode_prompt("c")
            slots.prefill([1], [texts[1]])
        chosen = torch.tensor([step + 1, 40 + step, 90 - step])
        texts = [[*text, int(token)] for text, token in zip(texts, chosen, strict=True)]
        output = slots.decode(chosen, torch.ones(3, dtype=torch.bool))
    several = [[1, 2, 3], [4], [5, 6]]
    texts = [text + new for text, new in zip(texts, several, strict=True)]
    output = slots.extend(range(3), several)
    for row, text in enumerate(texts):
        logits, hidden = llm.recompute(text)
        assert_close(output.logits[row], logits[-1])
        assert_close(output.hidden[row], hidden[-1])
