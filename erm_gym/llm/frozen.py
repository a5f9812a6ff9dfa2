"""A causal language model whose weights never change, with the few things the rest needs of it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from erm_gym.llm.digest import digest
from erm_gym.llm.kv_cache import Forward, TransformersForward
from erm_gym.llm.llama import LlamaForward
from erm_gym.llm.slots import Slots

MIDDLE_OF_STACK = 0.55
"""Depth of the layer that emotion is read from, as a share of the stack (16 of 30 layers)."""

SAMPLE_TEXTS = (
    "How long should I boil an egg if I want the yolk to stay soft?",
    "My neighbour shouted at me this morning and I am still shaking. What should I say to him?",
    "Write a short poem about the sea in winter, with a lighthouse and an old dog in it.",
    "Is it dangerous to mix medicine with alcohol before driving home at night?",
    "Explain the difference between a list and a tuple in Python, with one example of each.",
    "I lost my job, my savings are gone, and I do not know whom to ask for help.",
    "What were the main causes of the French Revolution, and who profited from it?",
    "Can you recommend three quiet places for a holiday with small children in autumn?",
)
"""Everyday texts over which `FrozenLLM.hidden_statistics` are taken."""

REPLY_MARK = "THE REPLY"
"""Stands for a reply while a chat template is asked what comes behind it."""

Messages = str | Sequence[dict[str, str]]


class LLMError(ValueError):
    """A language model, or a text for it, cannot be used; the message names the fix."""


living_llms: weakref.WeakValueDictionary[int, FrozenLLM] = weakref.WeakValueDictionary()
"""Every frozen LM that somebody holds, by its `id`, the oldest first."""


class FrozenLLM:
    """A transformers causal LM in evaluation mode with `requires_grad_(False)` on every weight.

    Attributes:
        name: What it was loaded by: an alias, a folder or a hub id.
        source: Where the weights came from, in words.
        model: The transformers model.
        tokenizer: Its tokenizer.
        layer: Index of the hidden layer that `hidden` outputs read; 0 is the embedding.
        num_layers: Number of layers; hidden layers go from 0, the embedding, to this.
        hidden_size: Width d of the hidden states.
        vocab_size: Number V of token ids that the LM head scores.
        context_length: Largest number of tokens that the model can read.
        end_of_turn: Token ids that end a reply.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str, source: str) -> None:
        """Freezes `model` in place.

        Args:
            model: A `transformers` causal LM, on its device and in its dtype.
            tokenizer: The tokenizer that belongs to it.
            name: What the user called it.
            source: Where its weights came from.
        """
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.name = name
        self.source = source
        config = model.config.get_text_config()
        self.num_layers: int = config.num_hidden_layers
        self.layer: int = max(1, round(MIDDLE_OF_STACK * config.num_hidden_layers))
        self.hidden_size: int = config.hidden_size
        self.vocab_size: int = self.token_embeddings.shape[0]
        self.context_length: int = getattr(config, "max_position_embeddings", 2048)
        self.end_of_turn = _end_of_turn(model, tokenizer)
        kind = LlamaForward if LlamaForward.fits(model) else TransformersForward
        self._forward: Forward = kind(model, self.layer, self.context_length)
        living_llms[id(self)] = self

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return self.token_embeddings.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.token_embeddings.device

    @property
    def token_embeddings(self) -> torch.Tensor:
        """The model's own input embedding `[V, d]`, not a copy."""
        weight: torch.Tensor = self.model.get_input_embeddings().weight
        return weight

    @cached_property
    def num_parameters(self) -> int:
        """Number of weights, each counted once: an LM head is often the embedding."""
        tensors = self.model.state_dict().values()
        return sum({tensor.data_ptr(): tensor.numel() for tensor in list(tensors)}.values())

    @property
    def fingerprint(self) -> str:
        """Architecture and vocabulary in one short string, kept beside everything trained on it.

        Precision, quantisation and the place the weights came from do not enter, so what was
        trained on one copy of a model works on another. Siblings that were fine-tuned from the
        same base share a fingerprint.
        """
        config = self.model.config.get_text_config()
        parts = [config.model_type, config.hidden_size, config.num_hidden_layers, self.vocab_size]
        words = [self.tokenizer.convert_ids_to_tokens(i) for i in range(0, len(self.tokenizer), 97)]
        return "-".join(map(str, parts)) + f"-{digest([repr((parts, words)).encode()])[:12]}"

    @cached_property
    def weights_digest(self) -> str:
        """Tells models of one architecture apart, by a few numbers of every tensor."""
        tensors = self.model.state_dict().values()
        return digest(tensor.flatten()[:256].float().cpu().numpy().tobytes() for tensor in tensors)

    def encode_prompt(self, prompt: Messages) -> list[int]:
        """Token ids of a conversation up to the place where the assistant starts to write.

        Args:
            prompt: What the user says, or a list of `{"role", "content"}` messages.

        Returns:
            Token ids under the model's chat template; a model without one reads plain text.

        Raises:
            LLMError: If the prompt is empty or leaves no room in the context.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if not messages or not all(message["content"].strip() for message in messages):
            raise LLMError("the prompt is empty; give it at least one word")
        if self.tokenizer.chat_template is None:
            text = "\n".join(message["content"] for message in messages) + "\n"
        else:
            text = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
        tokens = self.encode_text(text)
        if len(tokens) >= self.context_length:
            raise LLMError(
                f"the prompt has {len(tokens)} tokens, but {self.name} reads at most "
                f"{self.context_length} and needs room for a reply; shorten the prompt that "
                f"starts with {messages[0]['content'][:40]!r}"
            )
        return tokens

    def encode_next_turn(self, said: str, after: int) -> list[int]:
        """Token ids from the end of a reply to where the assistant may write again.

        Args:
            said: What the user says to the reply.
            after: Last token of the reply; an end of turn is not repeated.

        Raises:
            LLMError: If nothing is said, or the chat template changes replies.
        """
        if not said.strip():
            raise LLMError("the user says nothing; give its words at least one word")
        if self.tokenizer.chat_template is None:
            return self.encode_text(f"\n{said}\n")
        messages = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": REPLY_MARK},
            {"role": "user", "content": said},
        ]
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        _, found, rest = text.partition(REPLY_MARK)
        if not found:
            raise LLMError(
                f"the chat template of {self.name} changes what the assistant said before; a "
                "conversation needs a model whose template keeps it"
            )
        tokens = self.encode_text(rest)
        return tokens[1:] if tokens[0] == after and after in self.end_of_turn else tokens

    def encode_text(self, text: str) -> list[int]:
        """Token ids of plain text, with no special token added."""
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    @torch.no_grad()
    def recompute(self, tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and hidden states of one sequence with no cache: the reference for `Slots`.

        Args:
            tokens: T token ids, T >= 1.

        Returns:
            Logits `[T, V]` and hidden states `[T, d]` at `layer`, in the model's dtype.
        """
        ids = torch.tensor([list(tokens)], device=self.device)  # [1, T]
        output = self.model(input_ids=ids, output_hidden_states=True, use_cache=False)
        return output.logits[0], output.hidden_states[self.layer][0]

    @cached_property
    def hidden_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation `[d]` float32 of hidden states at `layer` over sample text.

        A few dimensions of a transformer's hidden states are many times larger than the rest;
        whoever learns from them divides by these.
        """
        states = [self.recompute(self.encode_prompt(text))[1] for text in SAMPLE_TEXTS]
        own = torch.cat([state[len(self.template) :] for state in states]).float().cpu()
        return own.mean(dim=0), own.std(dim=0) + 1e-4

    @cached_property
    def template(self) -> tuple[int, ...]:
        """The tokens that the chat template puts before every prompt's own."""
        one, other = self.encode_prompt("a"), self.encode_prompt("1")
        length = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
        return tuple(one[:length])

    def slots(
        self, num_slots: int, prefix: Sequence[int] = (), layers: Sequence[int] = ()
    ) -> Slots:
        """A KV cache of independent rows; see `Slots`.

        Args:
            num_slots: Number of rows, >= 1.
            prefix: Tokens that most prompts start with (see `common_prefix`), computed once; those
                of the chat template if empty.
            layers: Numbers of the layers, 0 to `num_layers`, whose hidden states are wanted of
                every position; `layer` is always there.

        Raises:
            ValueError: If there are no rows, or no such layer.
        """
        for layer in layers:
            if not 0 <= layer <= self.num_layers:
                raise ValueError(
                    f"{self.name} has layers 0 to {self.num_layers}; layer {layer} was asked for"
                )
        return Slots(
            self._forward,
            num_slots,
            device=self.device,
            context_length=self.context_length,
            template=self.template,
            prefix=prefix,
            layers=layers,
        )


def _end_of_turn(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured, tokenizer.eos_token_id]
    return frozenset(i for i in ids if i is not None)
