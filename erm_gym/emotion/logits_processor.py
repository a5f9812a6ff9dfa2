"""A critic beside the `generate` of transformers: it feels what is written, and biases it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel

from erm_gym.emotion import checkpoint
from erm_gym.emotion._checks import require_range
from erm_gym.emotion.config import CriticConfig, CriticError
from erm_gym.emotion.signals import EmotionalSignals
from erm_gym.llm import FrozenLLM
from erm_gym.llm.frozen import living_llms

if TYPE_CHECKING:
    from erm_gym.emotion.critic import CriticState, EmotionalCritic

OUT_OF_STEP = (
    "A critic follows greedy decoding, sampling and beam search of texts given as input_ids; not "
    "assisted decoding, guidance_scale, inputs_embeds, or a KV cache that was filled before its "
    "processor was made."
)


class EmotionalLogitsProcessor(LogitsProcessor):
    """What a critic feels while a transformers model writes, and the bias that it puts on tokens.

    It hooks the model's forward and asks it for the hidden states that the critic reads. What a
    `generate` begins with the critic reads as one prompt, then every new token by itself, padding
    not at all; it adds its bias to the logits of each. A new `generate` begins with a calm mind,
    unless it goes on with the KV cache of the last one: then the text goes on, and the feelings.

    Where a `FrozenLLM` is given, tokens with which its chat template begins are left out, as the
    environments do. A plain model does not know its template: all of the prompt is read.

    What `generate` itself does to the logits of sampling (temperature, top-k, top-p) comes after
    the bias. With beam search, the feelings follow the beams.

    The hooks go when the processor is closed, leaves its `with`, or is forgotten by all.

    Attributes:
        signals: What was felt when each token was chosen, `[B, 6]` each. A row that ended before
            the others goes on being read; what stands there means nothing.
        fear: The same for phasic and tonic fear, `[B, 2]` each.
    """

    def __init__(
        self,
        critic: EmotionalCritic,
        model: PreTrainedModel | FrozenLLM | None = None,
        *,
        strength: float = 1.0,
        temperature: bool = False,
        tonic_fear: float = 0.0,
    ) -> None:
        """Hooks the model.

        Args:
            critic: The critic; it is not trained here.
            model: The model that is going to write; None for the only frozen LM that is alive and
                that the critic was made for.
            strength: Factor of the bias, at least 0.
            temperature: Whether logits are also divided by the critic's temperature.
            tonic_fear: Tonic fear in [0, 1] at the beginning of every text.

        Raises:
            CriticError: The critic was made for another model, or which model is not clear.
            ValueError: An option is out of range.
        """
        require_range("logits_processor", "strength", strength, 0.0, math.inf)
        require_range("logits_processor", "tonic_fear", tonic_fear, 0.0, 1.0)
        writer = _only_llm(critic.config) if model is None else model
        template: tuple[int, ...] = ()
        if isinstance(writer, FrozenLLM):
            checkpoint.check_llm(critic.config, writer, critic.config.llm_name)
            template, writer = writer.template, writer.model
        else:
            _check_model(critic.config, writer)
        self.critic = critic
        self.signals: list[EmotionalSignals] = []
        self.fear: list[Tensor] = []
        self._strength = strength
        self._temperature = temperature
        self._tonic_fear = tonic_fear
        self._template = torch.tensor(template, dtype=torch.int64)
        self._known: tuple[Tensor, CriticState] | None = None  # texts [B, T], and after them
        # The hooks must not hold the processor, or it would live as long as the model.
        self._recorder = _Recorder(writer, critic.config.layers)
        self._close = weakref.finalize(self, self._recorder.detach)

    def close(self) -> None:
        """Takes the hooks off the model; what was felt stays."""
        self._close()

    def __enter__(self) -> Self:
        """Return the processor."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Reads what the model has read since the last call, and biases the choice of a token.

        Args:
            input_ids: `[B, T]` int64, the text so far.
            scores: `[B, V]` logits of the next token.

        Returns:
            `[B, V]`.

        Raises:
            CriticError: The model did not read this text, or read it in a way that cannot be
                followed.
        """
        seen = self._recorder.take()
        if seen.stop != input_ids.shape[1]:
            raise CriticError(
                f"The model has read {seen.stop} positions of a text of {input_ids.shape[1]}. "
                f"{OUT_OF_STEP}"
            )
        state = self._state_before(seen, input_ids)
        if state is None:
            self.signals, self.fear = [], []
            state = self._calm(len(input_ids))
            seen = seen.without(_beginning(self._template.to(input_ids), input_ids, seen.mask))
        elif not seen.start:
            seen = seen.last()
        signals, fear, state = seen.observed_by(self.critic, state)
        self._known = input_ids.clone(), state
        self.signals.append(signals)
        self.fear.append(fear)
        biased = scores + (self._strength * self.critic.bias(signals)).to(scores)  # [B, V]
        if self._temperature:
            biased = biased / self.critic.temperature(signals)[:, None].to(scores)
        return biased

    def _calm(self, rows: int) -> CriticState:
        state = self.critic.initial_state(rows)
        return replace(state, tonic_fear=torch.full_like(state.tonic_fear, self._tonic_fear))

    def _state_before(self, seen: _Seen, input_ids: Tensor) -> CriticState | None:
        """The state that the new positions are read in; None where the text begins anew.

        A model without a KV cache reads all of a text again for every token, and nothing but the
        text tells a next token from a new beginning.
        """
        if not seen.start and seen.cached:
            return None
        before = input_ids[:, : seen.start or seen.stop - 1]
        if self._known is not None and self._known[0].shape[1] == before.shape[1]:
            texts, state = self._known
            if torch.equal(texts, before):
                return state
            same = (before[:, None] == texts).all(-1)  # [B, B]
            if bool(same.any(1).all()):
                return self._moved(same.int().argmax(1), state)
        if seen.start:
            raise CriticError(
                f"What stands before position {seen.start} was not read. {OUT_OF_STEP}"
            )
        return None

    def _moved(self, rows: Tensor, state: CriticState) -> CriticState:
        """The state of rows `[B]` that beam search gave other places; what was felt goes along."""
        self.signals = [each[rows.to(each.tensor.device)] for each in self.signals]
        self.fear = [each[rows.to(each.device)] for each in self.fear]
        return state.map(lambda tensor: tensor[rows.to(tensor.device)])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What a model made of the positions from `start` to `stop` of B rows."""

    start: int
    hidden: Tensor
    """`[B, T, L, d]`."""
    mask: Tensor
    """`[B, T]` bool, False at padding."""
    cached: bool
    """Whether the model has a KV cache, so that nothing is read twice."""

    @property
    def stop(self) -> int:
        return self.start + self.hidden.shape[1]

    def last(self) -> _Seen:
        """The last position alone."""
        return replace(
            self, start=self.stop - 1, hidden=self.hidden[:, -1:], mask=self.mask[:, -1:]
        )

    def without(self, left_out: Tensor) -> _Seen:
        """The same with some positions, `[B, T]` bool, as if they were padding."""
        return replace(self, mask=self.mask & ~left_out.to(self.mask.device))

    def joined(self, after: _Seen) -> _Seen:
        """These positions and those behind them."""
        return replace(
            self,
            hidden=torch.cat((self.hidden, after.hidden), 1),
            mask=torch.cat((self.mask, after.mask), 1),
        )

    def observed_by(
        self, critic: EmotionalCritic, state: CriticState
    ) -> tuple[EmotionalSignals, Tensor, CriticState]:
        """What `EmotionalCritic.observe` returns of the positions."""
        device = state.tonic_fear.device
        hidden, mask = self.hidden.to(device), self.mask.to(device)
        if hidden.shape[1] == 1:
            return critic.observe(hidden, state)
        empty = (~mask.any(1)).nonzero().squeeze(-1).tolist()
        if empty:
            raise CriticError(f"Rows {empty} are nothing but padding; leave them out.")
        return critic.observe(hidden.masked_fill(~mask[..., None, None], 0.0), state, mask=mask)


class _Recorder:
    """Keeps the hidden states that a model makes, from one taking to the next."""

    def __init__(self, model: Any, layers: Sequence[int]) -> None:
        self._layers = list(layers)
        self._seen: _Seen | None = None
        self._start, self._cached = 0, False
        self._handles = [
            model.register_forward_pre_hook(self._before, with_kwargs=True),
            model.register_forward_hook(self._after, with_kwargs=True),
        ]

    def detach(self) -> None:
        """Leaves the model."""
        for handle in self._handles:
            handle.remove()
        self._seen = None

    def take(self) -> _Seen:
        """What was seen since the last taking, or since a text began."""
        seen, self._seen = self._seen, None
        if seen is None:
            raise CriticError(
                "The model whose forward is hooked has read nothing. Pass the model that "
                "generates, critic.logits_processor(model), and make a new processor where this "
                f"one was closed. {OUT_OF_STEP}"
            )
        return seen

    def _before(
        self, model: PreTrainedModel, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        cache = kwargs.get("past_key_values")
        self._cached = cache is not None  # its length must be read before the forward adds to it
        self._start = 0 if cache is None else int(cache.get_seq_length())
        asked = kwargs.get("output_hidden_states")
        return args, {**kwargs, "output_hidden_states": True if asked else self._layers}

    def _after(
        self, model: PreTrainedModel, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        before, self._seen = self._seen, None
        states = getattr(output, "hidden_states", None)
        if states is None:  # a call with return_dict=False, which no generate makes
            return
        hidden = torch.stack([states[layer] for layer in self._layers], 2).detach()  # [B, T, L, d]
        mask = _padding_mask(kwargs.get("attention_mask"), self._start, hidden)
        seen = _Seen(start=self._start, hidden=hidden, mask=mask, cached=self._cached)
        goes_on = before is not None and before.stop == seen.start
        self._seen = before.joined(seen) if before and goes_on else seen


def _padding_mask(mask: Any, start: int, hidden: Tensor) -> Tensor:
    """Where new positions are no padding, `[B, T]` bool, from a forward's attention mask.

    Args:
        mask: `[B, positions]`; or `[B, 1, T, positions]`, bool or additive, of which the diagonal
            tells whether a position sees itself; or several by kind of layer; or None.
        start: The first new position.
        hidden: `[B, T, L, d]` of the new positions.
    """
    rows, length = hidden.shape[:2]
    if isinstance(mask, dict):
        mask = next((each for each in mask.values() if each is not None), None)
    if mask is None:
        return torch.ones(rows, length, dtype=torch.bool, device=hidden.device)
    if mask.ndim == 4:
        seen = mask[:, 0].diagonal(start, -2, -1)[:, :length]
        return (seen if seen.dtype == torch.bool else seen == 0).expand(rows, -1)
    own: Tensor = mask[:, start : start + length].bool()
    return own


def _beginning(template: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Where texts `[B, T]` begin with a template `[N]` and go on after it, `[B, T]` bool."""
    left_out = torch.zeros_like(mask)
    size = len(template)
    for row, (own, real) in enumerate(zip(ids, mask.to(ids.device), strict=True)):
        places = real.nonzero().squeeze(-1)
        if size < len(places) and torch.equal(own[places[:size]], template):
            left_out[row, places[:size]] = True
    return left_out


def _only_llm(config: CriticConfig) -> FrozenLLM:
    """The frozen LM that a critic was made for, if just one is alive."""
    fitting = [llm for llm in living_llms.values() if llm.fingerprint == config.llm_fingerprint]
    if len(fitting) == 1:
        return fitting[0]
    raise CriticError(
        f"{len(fitting) or 'no'} frozen LMs that the critic of {config.llm_name!r} reads are "
        "loaded; name the model that is going to write: critic.logits_processor(model)."
    )


def _check_model(config: CriticConfig, model: Any) -> None:
    """Raise unless a transformers model has the sizes of the one that a critic was made for."""
    if not isinstance(model, PreTrainedModel) or model.config.is_encoder_decoder:
        raise CriticError(
            f"A critic goes beside a causal LM of transformers or a FrozenLLM; got a "
            f"{type(model).__name__}."
        )
    text: Any = model.config.get_text_config()
    embeddings: Any = model.get_input_embeddings()
    sizes = [text.model_type, text.hidden_size, text.num_hidden_layers, len(embeddings.weight)]
    own = "-".join(map(str, sizes))  # what a fingerprint begins with
    if not config.llm_fingerprint.startswith(f"{own}-"):
        raise CriticError(
            f"The critic was made for the language model {config.llm_name!r}, "
            f"{config.llm_fingerprint} (architecture, hidden size, layers, vocabulary), and the "
            f"model is {own}. Load the model it was made for, or make a new critic with "
            "EmotionalCritic.for_llm(llm)."
        )
