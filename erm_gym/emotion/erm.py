"""The Emotional Reward Model: six emotions read from a language model's hidden states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from erm_gym.emotion.pooling import CausalAttentionPooling, PoolingState
from erm_gym.emotion.signals import EMOTIONS, EmotionalSignals
from erm_gym.emotion.state import BatchState

PHASIC_SHARE = 0.6
"""Share of the phasic values in the output; the rest is tonic."""
HEAD_BIAS = -2.0
"""Bias at which every emotion head starts: sigmoid(-2) = 0.12."""
ENCODED_SIZE = 128
"""Size of an encoded position."""


@dataclass(frozen=True, eq=False)
class ERMState(BatchState):
    """State of the ERM for B independent rows."""

    pool: PoolingState
    """Running attention sums over the positions read so far."""
    tonic: Tensor
    """`[B, 6]` tonic emotions in [0, 1]."""


class EmotionalRewardModel(nn.Module):
    """Emotional values of a growing text, one vector per position, from causal information only.

    Per position: Linear(d, 256), LayerNorm, ReLU, Dropout(.1), Linear(256, 128), ReLU. The
    positions up to t are pooled by four attention heads with one learned query; six sigmoid heads
    read the phasic emotions off the pool; a GRU over the phasic values, one step per position,
    keeps the tonic ones. The signal is 0.6 phasic + 0.4 tonic.

    There are two paths with equal results: `forward` over whole sequences (training) and `step` per
    position (acting). The state goes in and comes out; nothing mutable is kept in the module. A
    state carries its autograd graph: `detach` it at the border of an episode or an update.

    A new ERM feels little: its heads start with a bias of -2 and its tonic emotions at 0, so no
    signal passes 0.5, where the rules of `LogitModulator` begin.

    Dropout acts in train mode only. The GRU starts from "no tonic emotion" (hidden -1, mapped to 0)
    rather than from hidden 0, which would stand for half of every emotion: our own choice.

    Source: emotional reward model (the project's seed document), EmotionalRewardModel.
    """

    def __init__(self, hidden_size: int) -> None:
        """Build the model.

        Args:
            hidden_size: d, size of the language model's hidden states.
        """
        super().__init__()
        self.hidden_size = hidden_size
        self.encoder = nn.Sequential(
            nn.Linear(hidden_size, 256),
            nn.LayerNorm(256),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(256, ENCODED_SIZE),
            nn.ReLU(),
        )
        self.pooling = CausalAttentionPooling(ENCODED_SIZE, num_heads=4)
        self.heads = nn.Linear(ENCODED_SIZE, len(EMOTIONS))
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
            hidden: `[B, T, d]` hidden states, T >= 1, any floating dtype.
            state: State before the first position; None for rows that have read nothing.
            mask: `[B, T]` bool, False at padding (on either side): such a position changes no state
                and repeats the signals before it (0 where nothing was read yet).

        Returns:
            The signals `[B, T, 6]` in [0, 1], and the state after the last position of each row.

        Raises:
            ValueError: `hidden` has another shape.
        """
        self._check_shape(hidden, "[B, T, d]")
        if state is None:
            state = self.initial_state(hidden.shape[0])
        pools = self.pooling.scan(self._encode(hidden), state.pool, mask)
        phasic = self._phasic(pools)  # [B, T, 6]
        tonic, tonics = state.tonic, []
        for position in range(hidden.shape[1]):
            following = self._next_tonic(phasic[:, position], tonic)
            if mask is not None:
                following = torch.where(mask[:, position, None], following, tonic)
            tonic = following
            tonics.append(tonic)
        signals = _mix(phasic, torch.stack(tonics, 1))
        return signals, ERMState(pools.map(lambda tensor: tensor[:, -1]), tonic)

    def step(self, hidden: Tensor, state: ERMState) -> tuple[EmotionalSignals, ERMState]:
        """Read one more position per row.

        Args:
            hidden: `[B, d]` hidden state of the new position, any floating dtype.
            state: State before it.

        Returns:
            The signals `[B, 6]` in [0, 1], and the state after the position.

        Raises:
            ValueError: `hidden` has another shape.
        """
        self._check_shape(hidden, "[B, d]")
        pool = self.pooling.step(self._encode(hidden), state.pool)
        phasic = self._phasic(pool)  # [B, 6]
        tonic = self._next_tonic(phasic, state.tonic)
        return _mix(phasic, tonic), ERMState(pool, tonic)

    def _check_shape(self, hidden: Tensor, expected: str) -> None:
        if hidden.ndim != expected.count(",") + 1 or hidden.shape[-1] != self.hidden_size:
            raise ValueError(
                f"The ERM expects hidden states {expected} with d = {self.hidden_size}; "
                f"got shape {tuple(hidden.shape)}."
            )

    def _encode(self, hidden: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(hidden.to(self.heads.weight.dtype))  # [..., 128]
        return encoded

    def _phasic(self, pool: PoolingState) -> Tensor:
        """Return the phasic emotions `[..., 6]`, 0 for a row that has read nothing."""
        values = torch.sigmoid(self.heads(self.pooling.pooled(pool)))
        return torch.where(pool.denominator[..., :1] > 0, values, torch.zeros_like(values))

    def _next_tonic(self, phasic: Tensor, tonic: Tensor) -> Tensor:
        """Advance the tonic emotions `[B, 6]`; the GRU works on (-1, 1), the state is in [0, 1]."""
        hidden: Tensor = self.tonic(phasic, 2.0 * tonic - 1.0)
        return (hidden + 1.0) / 2.0


def _mix(phasic: Tensor, tonic: Tensor) -> EmotionalSignals:
    """Return 0.6 phasic + 0.4 tonic; the clamp only takes off what rounding adds."""
    return EmotionalSignals(PHASIC_SHARE * phasic + (1.0 - PHASIC_SHARE) * tonic).clamp()
