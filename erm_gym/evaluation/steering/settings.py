"""What measurements of steering depend on, so that one that goes on goes on with the same."""

from __future__ import annotations

from typing import Any

from erm_gym.emotion import EmotionalCritic
from erm_gym.emotion.training.datasets import LabelledTexts
from erm_gym.llm import FrozenLLM
from erm_gym.llm.digest import digest


def about_llm(llm: FrozenLLM) -> dict[str, str]:
    """Architecture, weights and precision of a language model."""
    dtype = str(llm.dtype).removeprefix("torch.")
    return {"fingerprint": llm.fingerprint, "weights": llm.weights_digest, "dtype": dtype}


def about_critic(critic: EmotionalCritic) -> str:
    """What tells a critic's weights from others."""
    return digest(one.float().cpu().numpy().tobytes() for one in critic.state_dict().values())


def about_texts(data: LabelledTexts) -> dict[str, Any]:
    """Texts and ratings."""
    parts = (repr(data.texts).encode(), data.values.numpy().tobytes())
    return {"source": data.source, "texts": len(data), "digest": digest(parts)}
