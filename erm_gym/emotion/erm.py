"""The Emotional Reward Model: six emotions read from a language model's hidden states."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from erm_gym.emotion._checks import require_range
from erm_gym.emotion.pooling import CausalAttentionPooling, PoolingState
from erm_gym.emotion.signals import EMOTIONS, EmotionalSignals
from erm_gym.emotion.state import BatchState

PHASIC_SHARE = 0.6
"""Share of the phasic values in the output; the rest is tonic."""
HEAD_BIAS = -2.0
"""Bias at which every emotion head starts: sigmoid(-2) = 0.12."""
AFFECT = ("valence", "arousal", "dominance")
"""Order of the affective ratings."""
DEPTHS = (0.4, 0.6, 0.8)
"""Where in a stack the layers lie that an ERM reads: 12, 18 and 24 of 30."""

Activation = Literal["relu", "gelu"]


@dataclass(frozen=True, kw_only=True)
class ERMConfig:
    """Form of an Emotional Reward Model.

    The defaults are ours; `seed_form` is that of the seed. What each difference buys is measured in
    the card of the shipped weights.
    """

    layers: tuple[int, ...]
    """Numbers of the K layers of the language model that are read; 0 is the embedding."""
    members: int = 3
    """M, independent encoders and poolings whose logits are averaged."""
    width: int = 256
    """Width of an encoder's first layer."""
    encoded_size: int = 128
    """E, size of an encoded position."""
    queries: int = 4
    """Q, attention queries of each member."""
    max_pool: bool = True
    """Whether the largest value of each encoded number is pooled beside the averages."""
    normalise: bool = True
    """Whether every layer's hidden states are normalised before they are mixed."""
    activation: Activation = "gelu"
    """Of the encoders."""
    dropout: float = 0.3
    """While training: share of the encoders' units, and of what is pooled, that is dropped."""
    labels: tuple[str, ...] = ()
    """Names of other labels whose probabilities are read off as well, such as GoEmotions' 28."""
    affect: bool = False
    """Whether valence, arousal and dominance are read off as well."""

    def __post_init__(self) -> None:
        if not self.layers or list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise ValueError(
                f"ERMConfig.layers is {self.layers}; name at least one layer, each once, ascending."
            )
        for name in ("members", "width", "encoded_size", "queries"):
            require_range("ERMConfig", name, getattr(self, name), 1, math.inf)
        require_range("ERMConfig", "dropout", self.dropout, 0.0, 0.99)
        if self.activation not in get_args(Activation):
            raise ValueError(
                f"ERMConfig.activation is {self.activation!r}; choose from {get_args(Activation)}."
            )

    @classmethod
    def for_depth(cls, num_layers: int) -> ERMConfig:
        """Return the default form for a language model of that many layers."""
        return cls(layers=tuple(sorted({max(1, round(depth * num_layers)) for depth in DEPTHS})))

    @classmethod
    def seed_form(cls, layer: int) -> ERMConfig:
        """Return the seed's form: one layer, one encoder with ReLU, and four heads of attention.

        Args:
            layer: The layer that is read.
        """
        return cls(
            layers=(layer,),
            members=1,
            max_pool=False,
            normalise=False,
            activation="relu",
            dropout=0.1,
        )


@dataclass(frozen=True, eq=False)
class ERMState(BatchState):
    """State of the ERM for B independent rows."""

    pool: PoolingState
    """Running attention sums over the positions read so far."""
    tonic: Tensor
    """`[B, 6]` tonic emotions in [0, 1]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """All that the ERM reads off the text so far; phasic, that is without what came before it."""

    emotions: Tensor
    """`[..., 6]` in [0, 1], in the order of `EMOTIONS`."""
    labels: Tensor
    """`[..., N]` probabilities of the labels of `ERMConfig.labels`."""
    affect: Tensor
    """`[..., 3]` valence, arousal and dominance, on EmoBank's scale of 1 to 5; or `[..., 0]`."""


class EmotionalRewardModel(nn.Module):
    """Emotional values of a growing text, one vector per position, from causal information only.

    Per position and member: a learned softmax mix of K layers, Linear(d, 256), LayerNorm,
    activation, dropout, Linear(256, 128), activation. The positions up to t are pooled by the
    attention of learned queries; six sigmoid heads read the phasic emotions off the pool; a GRU
    over the phasic values, one step per position, keeps the tonic ones. The signal is 0.6 phasic +
    0.4 tonic. Further heads read labels and affective ratings off the same pool.

    There are two paths with equal results: `forward` over whole sequences and `step` per position
    (acting). The state goes in and comes out; nothing mutable is kept in the module. A state
    carries its autograd graph: `detach` it at the border of an episode or an update.

    A new ERM feels little: its heads start with a bias of -2 and its tonic emotions at 0, so no
    signal passes 0.5, where the rules of `LogitModulator` begin.

    Dropout acts in train mode only. The GRU starts from "no tonic emotion" (hidden -1, mapped to 0)
    rather than from hidden 0, which would stand for half of every emotion: our own choice.

    Source: emotional reward model (the project's seed document), EmotionalRewardModel; the mix of
    layers, the members, further heads and the largest values are our own.
    """

    def __init__(self, hidden_size: int, config: ERMConfig) -> None:
        """Build the model.

        Args:
            hidden_size: d, size of the language model's hidden states.
            config: Its form.
        """
        super().__init__()
        self.hidden_size = hidden_size
        self.config = config
        self.encoders = nn.ModuleList(_Encoder(hidden_size, config) for _ in range(config.members))
        self.pooling = CausalAttentionPooling(
            config.members, config.queries, config.encoded_size, highest=config.max_pool
        )
        self.dropout = nn.Dropout(config.dropout)
        outputs = len(EMOTIONS) + len(config.labels) + len(AFFECT) * config.affect
        self.heads = nn.Linear(config.members * self.pooling.pooled_size, outputs)
        nn.init.constant_(self.heads.bias, HEAD_BIAS)
        self.tonic = nn.GRUCell(len(EMOTIONS), len(EMOTIONS))

    def initial_state(self, batch_size: int) -> ERMState:
        """Return the state of `batch_size` rows that have read nothing and feel nothing."""
        tonic = self.heads.weight.new_zeros(batch_size, len(EMOTIONS))
        return ERMState(self.pooling.initial_state(batch_size), tonic)

    def forward(
        self, hidden: Tensor, state: ERMState | None = None, mask: Tensor | None = None
    ) -> tuple[EmotionalSignals, ERMState]:
        """Read whole sequences; the value at position t depends on positions up to t only.

        Args:
            hidden: `[B, T, K, d]` hidden states, T >= 1, any floating dtype.
            state: State before the first position; None for rows that have read nothing.
            mask: `[B, T]` bool, False at padding (on either side): such a position changes no state
                and repeats the signals before it (0 where nothing was read yet).

        Returns:
            The signals `[B, T, 6]` in [0, 1], and the state after the last position of each row.

        Raises:
            ValueError: `hidden` has another shape.
        """
        if state is None:
            state = self.initial_state(hidden.shape[0])
        pools = self.pools(hidden, state, mask)
        phasic = self.read_off(pools).emotions  # [B, T, 6]
        tonic, tonics = state.tonic, []
        for position in range(hidden.shape[1]):
            following = self.next_tonic(phasic[:, position], tonic)
            if mask is not None:
                following = torch.where(mask[:, position, None], following, tonic)
            tonic = following
            tonics.append(tonic)
        signals = _mix(phasic, torch.stack(tonics, 1))
        return signals, ERMState(pools.map(lambda tensor: tensor[:, -1]), tonic)

    def step(self, hidden: Tensor, state: ERMState) -> tuple[EmotionalSignals, ERMState]:
        """Read one more position per row.

        Args:
            hidden: `[B, K, d]` hidden states of the new position, any floating dtype.
            state: State before it.

        Returns:
            The signals `[B, 6]` in [0, 1], and the state after the position.

        Raises:
            ValueError: `hidden` has another shape.
        """
        pool = self.pooling.step(self._encode(hidden, "[B, K, d]"), state.pool)
        phasic = self.read_off(pool).emotions  # [B, 6]
        tonic = self.next_tonic(phasic, state.tonic)
        return _mix(phasic, tonic), ERMState(pool, tonic)

    def pools(
        self, hidden: Tensor, state: ERMState | None = None, mask: Tensor | None = None
    ) -> PoolingState:
        """Return what was read up to each position, with dimensions `[B, T, ...]`.

        Args:
            hidden: `[B, T, K, d]`.
            state: State before the first position; None for rows that have read nothing.
            mask: `[B, T]` bool, False at padding.
        """
        before = self.pooling.initial_state(len(hidden)) if state is None else state.pool
        return self.pooling.scan(self._encode(hidden, "[B, T, K, d]"), before, mask)

    def read_off(self, pool: PoolingState) -> Reading:
        """Return the reading of what was pooled; its emotions are 0 where nothing was read."""
        outputs = self.heads(self.pooling.pooled(pool).flatten(-2))
        logits, labels, affect = self.split(outputs)
        emotions = torch.sigmoid(logits)
        has_read = pool.denominator[..., 0, :1] > 0
        return Reading(
            emotions=torch.where(has_read, emotions, torch.zeros_like(emotions)),
            labels=torch.sigmoid(labels),
            affect=affect,
        )

    def outputs_of_members(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return what each member by itself makes of whole texts, for training.

        Args:
            hidden: `[B, T, K, d]`.
            mask: `[B, T]` bool, False at padding.

        Returns:
            `[M, B, O]`, whose mean over M is what `read_off` splits: logits and ratings.
        """
        pooled = self.pooling.pooled(self.pooling.read(self._encode(hidden, "[B, T, K, d]"), mask))
        members = len(self.encoders)
        weight = self.heads.weight.unflatten(1, (members, -1)) * members  # [O, M, P]
        outputs = torch.einsum("bmp,omp->mbo", self.dropout(pooled), weight)
        return outputs + self.heads.bias

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the parts of outputs `[..., O]`: emotions and labels as logits, and ratings."""
        first, second = len(EMOTIONS), len(EMOTIONS) + len(self.config.labels)
        return outputs[..., :first], outputs[..., first:second], outputs[..., second:]

    def layer_mix(self) -> list[list[float]]:
        """Return the share of each of the K layers in what each member reads."""
        mixes = [
            self.get_parameter(f"encoders.{member}.mix") for member in range(len(self.encoders))
        ]
        return [mix.detach().softmax(0).tolist() for mix in mixes]

    def next_tonic(self, phasic: Tensor, tonic: Tensor) -> Tensor:
        """Return the tonic emotions `[B, 6]` after one more position.

        Args:
            phasic: `[B, 6]` at that position.
            tonic: `[B, 6]` before it. The GRU works on (-1, 1), the state is in [0, 1].
        """
        hidden: Tensor = self.tonic(phasic, 2.0 * tonic - 1.0)
        return (hidden + 1.0) / 2.0

    def _encode(self, hidden: Tensor, expected: str) -> Tensor:
        """Return encoded positions `[..., M, E]`."""
        sizes = len(self.config.layers), self.hidden_size
        if hidden.ndim != expected.count(",") + 1 or hidden.shape[-2:] != sizes:
            raise ValueError(
                f"The ERM expects hidden states {expected} with K = {sizes[0]} and d = {sizes[1]}; "
                f"got shape {tuple(hidden.shape)}."
            )
        hidden = hidden.to(self.heads.weight.dtype)
        if self.config.normalise:
            hidden = functional.layer_norm(hidden, (self.hidden_size,))
        return torch.stack([encoder(hidden) for encoder in self.encoders], -2)


class _Encoder(nn.Module):
    """One member's reading of positions, each by itself."""

    def __init__(self, hidden_size: int, config: ERMConfig) -> None:
        super().__init__()
        activation = {"relu": nn.ReLU, "gelu": nn.GELU}[config.activation]
        self.mix = nn.Parameter(torch.zeros(len(config.layers)))
        self.layers = nn.Sequential(
            nn.Linear(hidden_size, config.width),
            nn.LayerNorm(config.width),
            activation(),
            nn.Dropout(config.dropout),
            nn.Linear(config.width, config.encoded_size),
            activation(),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Return `[..., E]` of hidden states `[..., K, d]`."""
        mixed = torch.einsum("...kd,k->...d", hidden, self.mix.softmax(0))
        encoded: Tensor = self.layers(mixed)
        return encoded


def _mix(phasic: Tensor, tonic: Tensor) -> EmotionalSignals:
    """Return 0.6 phasic + 0.4 tonic; the clamp only takes off what rounding adds."""
    return EmotionalSignals(PHASIC_SHARE * phasic + (1.0 - PHASIC_SHARE) * tonic).clamp()
