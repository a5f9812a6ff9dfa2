"""The emotional critic: everything that feels, as one object beside a frozen language model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from erm_gym.emotion import checkpoint
from erm_gym.emotion.categories import CATEGORIES, category_ids
from erm_gym.emotion.config import CriticConfig
from erm_gym.emotion.erm import EmotionalRewardModel, ERMConfig, ERMState
from erm_gym.emotion.fear import FearConfig, FearModule
from erm_gym.emotion.modulation import (
    LogitModulator,
    ModulationConfig,
    TemperatureConfig,
    TemperatureModulator,
)
from erm_gym.emotion.signals import EmotionalSignals
from erm_gym.emotion.state import BatchState

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from erm_gym.emotion.logits_processor import EmotionalLogitsProcessor
    from erm_gym.llm import FrozenLLM


@dataclass(frozen=True, eq=False)
class CriticState(BatchState):
    """Emotional state of B independent rows."""

    erm: ERMState
    """State of the Emotional Reward Model."""
    tonic_fear: Tensor
    """`[B]` tonic fear in [0, 1], as the next step finds it."""
    context: Tensor
    """`[B, d]` float32, leaky mean of the hidden states read so far: what the FearModule reads."""
    begun: Tensor
    """`[B]` bool, whether the row has read anything."""


class EmotionalCritic(
    nn.Module, PyTorchModelHubMixin, library_name="erm-gym", tags=["emotional-reward-model"]
):
    """Reads hidden states and feedback, keeps an emotional state per row, and biases the policy.

    The fear that acts on the policy is the larger of the ERM's fear and the FearModule's total
    fear; anxiety is the larger of the ERM's anxiety and tonic fear.

    State is explicit: `observe` and `reset` take one and return one, so that a snapshot is keeping
    (or `clone`-ing) it and a restore is going on from it. Acting needs `torch.no_grad()`; for
    training, `detach` the state between updates. Gradients reach every part otherwise.

    Weights are saved with `save_pretrained` as safetensors beside a `config.json`, and checked
    against the language model when loaded; `erm_gym.emotion.checkpoint` tells what the files hold.
    After training the ERM, set `critic.config = dataclasses.replace(critic.config, trained=True)`.

    >>> sizes = {"hidden_size": 8, "vocab_size": 9, "layer": 1, "erm": ERMConfig(layers=(1, 2))}
    >>> config = CriticConfig(llm_name="any", llm_fingerprint="0", **sizes)
    >>> critic = EmotionalCritic(config).eval()
    >>> hidden = torch.ones(2, 1, len(config.layers), 8)
    >>> signals, fear, state = critic.observe(hidden, critic.initial_state(2))
    >>> signals.shape, fear.shape, critic.bias(signals, torch.tensor([[1, 2], [3, 4]])).shape
    (torch.Size([2, 6]), torch.Size([2, 2]), torch.Size([2, 2]))

    Source: emotional reward model (the project's seed document), EmotionalRewardLLM, without the
    language model, and with the FearModule, which the seed never calls.
    """

    def __init__(self, config: CriticConfig) -> None:
        """Build an untrained critic with empty token categories.

        Args:
            config: Sizes and constants. `config.seed` alone decides the initial weights.
        """
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.erm = EmotionalRewardModel(config.hidden_size, config.erm)
            self.fear_module = FearModule(config.hidden_size, config.fear)
        self.modulator = LogitModulator(config.vocab_size, config.modulation)
        self.temperature_modulator = TemperatureModulator(config.temperature)
        self._fear_layer = config.layers.index(config.layer)
        self._erm_layers = [config.layers.index(layer) for layer in config.erm.layers]

    @classmethod
    def for_llm(
        cls,
        llm: FrozenLLM,
        *,
        seed: int = 0,
        keep_tonic_fear: bool = False,
        erm: ERMConfig | None = None,
        fear: FearConfig | None = None,
        modulation: ModulationConfig | None = None,
        temperature: TemperatureConfig | None = None,
    ) -> EmotionalCritic:
        """Return an untrained critic of the right sizes, in eval mode, on the model's device.

        Args:
            llm: The language model whose hidden states it will read.
            seed: Seed of the initial weights.
            keep_tonic_fear: Whether tonic fear outlives the end of an episode.
            erm: Form of the ERM; None for `ERMConfig.for_depth`.
            fear: Constants of the FearModule.
            modulation: Constants of the LogitModulator.
            temperature: Constants of the TemperatureModulator.
        """
        critic = cls(
            CriticConfig(
                llm_name=llm.name,
                llm_fingerprint=llm.fingerprint,
                hidden_size=llm.hidden_size,
                vocab_size=llm.vocab_size,
                layer=llm.layer,
                erm=erm or ERMConfig.for_depth(llm.num_layers),
                seed=seed,
                keep_tonic_fear=keep_tonic_fear,
                fear=fear or FearConfig(),
                modulation=modulation or ModulationConfig(),
                temperature=temperature or TemperatureConfig(),
            )
        )
        for name in CATEGORIES:
            critic.modulator.set_category(name, category_ids(llm.tokenizer, name))
        return critic.to(llm.device).eval()

    def initial_state(self, batch_size: int) -> CriticState:
        """Return the state of `batch_size` rows that have read nothing and were never hurt."""
        erm = self.erm.initial_state(batch_size)
        tonic = self.fear_module.initial_state(batch_size)
        context = tonic.new_zeros(batch_size, self.config.hidden_size)
        return CriticState(erm, tonic, context, torch.zeros_like(tonic, dtype=torch.bool))

    def observe(
        self,
        hidden: Tensor,
        state: CriticState,
        feedback: Tensor | None = None,
        tick: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[EmotionalSignals, Tensor, CriticState]:
        """Take in more positions per row, and the user's feedback where there is any.

        The ERM reads position by position. To the FearModule the positions are one: their mean.
        Rows that are not to advance: keep theirs with `new_state.where(active, state)`.

        Args:
            hidden: `[B, T, L, d]` hidden states at the layers `config.layers`, any floating dtype;
                T is 1 for a token, or what a prompt has.
            state: State before the positions.
            feedback: `[B]` scores in [-1, 1], nan where there is none; None for nowhere.
            tick: `[B]` bool, where the clock of the decay of tonic fear ticks; None for the default
                of `FearConfig.clock`.
            mask: `[B, T]` bool, False at padding; every row has a position that is none. None for
                no padding.

        Returns:
            Signals `[B, 6]` as the policy feels them; fear `[B, 2]`, phasic and tonic, the latter
            with this feedback and before this decay, so that their maximum is total fear; and the
            state after the positions.

        Raises:
            ValueError: `hidden` has another shape, or contains nan or infinity. The second is
                checked on the CPU only: elsewhere it would wait for the device at every step.
        """
        self._check_hidden(hidden, mask)
        for_erm, for_fear = self.split_layers(hidden)
        if mask is None and hidden.shape[1] == 1:
            felt, erm_state = self.erm.step(for_erm[:, 0], state.erm)
        else:
            signals, erm_state = self.erm(for_erm, state.erm, mask)
            felt = signals[:, -1]
        said = for_fear.mean(1) if mask is None else _masked_mean(for_fear, mask)
        context = self.fear_module.pool(said, state.context, state.begun)
        phasic, tonic, later = self.fear_module.step(context, state.tonic_fear, feedback, tick)
        total = torch.maximum(phasic, tonic)
        signals = felt.with_(
            fear=torch.maximum(felt.fear, total), anxiety=torch.maximum(felt.anxiety, tonic)
        )
        following = CriticState(erm_state, later, context, torch.ones_like(state.begun))
        return signals, torch.stack([phasic, tonic], -1), following

    def split_layers(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return who reads what of hidden states at the layers `config.layers`.

        Args:
            hidden: `[..., L, d]`.

        Returns:
            `[..., K, d]` for the ERM, in the same dtype, and `[..., d]` float32 for the FearModule.
        """
        return hidden[..., self._erm_layers, :], hidden[..., self._fear_layer, :].float()

    def _check_hidden(self, hidden: Tensor, mask: Tensor | None) -> None:
        sizes = len(self.config.layers), self.config.hidden_size
        if hidden.ndim != 4 or not hidden.shape[1] or hidden.shape[2:] != sizes:
            raise ValueError(
                f"The critic reads hidden states [B, T, L, d] with L = {sizes[0]} (layers "
                f"{self.config.layers}) and d = {sizes[1]}; got shape {tuple(hidden.shape)}."
            )
        if hidden.device.type == "cpu" and not bool((finite := torch.isfinite(hidden)).all()):
            read = finite.flatten(2).all(-1) if mask is None else finite.flatten(2).all(-1) | ~mask
            if bad := (~read.all(1)).nonzero().squeeze(-1).tolist():
                raise ValueError(f"The hidden states of rows {bad} contain nan or infinity.")

    def reset(
        self, state: CriticState, mask: Tensor, keep_tonic_fear: bool | None = None
    ) -> CriticState:
        """Return the state in which some rows begin a new episode.

        Args:
            state: Any state.
            mask: `[B]` bool, rows that begin anew.
            keep_tonic_fear: Whether their tonic fear stays; None for what the configuration says.
        """
        fresh = self.initial_state(len(mask)).where(mask, state)
        keep = self.config.keep_tonic_fear if keep_tonic_fear is None else keep_tonic_fear
        return replace(fresh, tonic_fear=state.tonic_fear) if keep else fresh

    def bias(self, signals: EmotionalSignals | Tensor, candidates: Tensor | None = None) -> Tensor:
        """Return the bias `[..., A]` on candidates, or `[..., V]`; see `LogitModulator`."""
        bias: Tensor = self.modulator(signals, candidates)
        return bias

    def temperature(self, signals: EmotionalSignals | Tensor) -> Tensor:
        """Return the sampling temperature `[...]`; see `TemperatureModulator`."""
        temperature: Tensor = self.temperature_modulator(signals)
        return temperature

    def logits_processor(
        self,
        model: PreTrainedModel | FrozenLLM | None = None,
        *,
        strength: float = 1.0,
        temperature: bool = False,
        tonic_fear: float = 0.0,
    ) -> EmotionalLogitsProcessor:
        """Return what takes the critic into `model.generate` and into pipelines of transformers.

        Args:
            model: The model that is going to write; None for the only loaded `FrozenLLM` that the
                critic was made for.
            strength: Factor of the bias, at least 0.
            temperature: Whether logits are also divided by the critic's temperature.
            tonic_fear: Tonic fear in [0, 1] at the beginning of every text.

        Raises:
            CriticError: The critic was made for another model, or which model is not clear.
            ValueError: An option is out of range.
        """
        from erm_gym.emotion.logits_processor import EmotionalLogitsProcessor  # loads transformers

        return EmotionalLogitsProcessor(
            self, model, strength=strength, temperature=temperature, tonic_fear=tonic_fear
        )

    def notice(self) -> str | None:
        """Return one line to show to users if the ERM is untrained, else None."""
        if self.config.trained:
            return None
        return (
            f"The emotional reward model for {self.config.llm_name!r} is untrained: its signals "
            "carry no information; only fear from the FearModule does."
        )

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        llm: FrozenLLM | None = None,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> Self:
        """Load a critic, in eval mode.

        Args:
            pretrained_model_name_or_path: Name of a critic that comes with the package (such as
                "smollm2-135m"), a folder (write "./name" if it is called like one of those), or a
                hub id.
            llm: The language model it is for: it is checked to be the right one, and the critic
                moves to its device. None loads unchecked, on the CPU.
            force_download: Download again what the cache has (hub only).
            token: Access token (hub only).
            cache_dir: Folder of the cache (hub only).
            local_files_only: Use the cache alone (hub only).
            revision: Branch, tag or commit (hub only).

        Raises:
            CriticError: Nothing is there, a file is damaged, or the critic is for another model.
        """
        with checkpoint.readable_errors(str(pretrained_model_name_or_path)):
            critic = super().from_pretrained(
                checkpoint.locate(pretrained_model_name_or_path),
                force_download=force_download,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                revision=revision,
            )
        if llm is not None:
            checkpoint.check_llm(critic.config, llm, str(pretrained_model_name_or_path))
            critic = critic.to(llm.device)
        return critic.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        checkpoint.save(self, save_directory)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, config: dict[str, Any] | None = None, **hub: Any
    ) -> Self:
        return checkpoint.load(cls, model_id, config, **hub)


def _masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean `[B, d]` of states `[B, T, d]` over the positions of a mask `[B, T]`."""
    total = states.masked_fill(~mask[..., None], 0.0).sum(1)
    return total / mask.sum(1, keepdim=True)
