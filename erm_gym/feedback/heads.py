"""Small heads on the frozen LM's hidden states of a reply, and their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from erm_gym.feedback.conversation import messages_before
from erm_gym.feedback.episode import Episode, UserError
from erm_gym.feedback.judge import pool_reply
from erm_gym.feedback.reading import read_replies
from erm_gym.llm import FrozenLLM

SHIPPED = Path(str(files("erm_gym.feedback") / "weights"))
"""Folder of the heads that come with the package."""


class ReplyHead(nn.Module):
    """Reads a few numbers off the hidden states of a reply.

    Features of a reply with hidden states h_1..h_T: their mean, and the last one, standardised with
    the training data's statistics. Without `width` the head is one linear layer; with it there is a
    layer of so many ReLU units between.

    Source: our own; the form is that of the stance judge.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, outputs: Sequence[str], llm: FrozenLLM, *, width: int = 0
    ) -> None:
        """Builds an untrained head.

        Args:
            name: What it is called: in messages and as the name of its file.
            outputs: Names of the O numbers that it reads.
            llm: The model whose hidden states it reads.
            width: Units of the layer between; 0 for none.
        """
        super().__init__()
        self.name, self.outputs, self.width = name, tuple(outputs), width
        self.llm = [llm]  # in a list, so that it is no part of the module
        features = 2 * llm.hidden_size
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        layers: list[nn.Module] = [nn.Linear(width or features, len(self.outputs))]
        if width:
            layers = [
                nn.Dropout(0.1),
                nn.Linear(features, width),
                nn.ReLU(),
                nn.Dropout(0.1),
                *layers,
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs `[N, O]` of features `[N, 2 d]`, both float32."""
        outputs: Tensor = self.layers((features - self.mean) / self.std)
        return outputs

    @torch.no_grad()
    def read(self, episodes: Sequence[Episode]) -> np.ndarray:
        """Outputs `[N, O]` float32 of finished replies.

        Hidden states that the environment kept are used where they are of the same LM, which saves
        a forward; otherwise the conversation is read again.
        """
        [llm] = self.llm
        if all(
            episode.hidden is not None and episode.llm_fingerprint == llm.fingerprint
            for episode in episodes
        ):
            hidden = [torch.from_numpy(np.asarray(episode.hidden)) for episode in episodes]
        else:
            before = [messages_before(episode) for episode in episodes]
            replies = [episode.reply for episode in episodes]
            hidden = [reply for _, reply in read_replies(llm, before, replies)]
        features = torch.stack([pool_reply(reply) for reply in hidden])
        outputs: np.ndarray = self(features.to(self.mean)).cpu().numpy()
        return outputs

    @classmethod
    def for_llm(
        cls,
        name: str,
        outputs: Sequence[str],
        llm: FrozenLLM,
        *,
        width: int = 0,
        folder: Path | None = None,
        again: str,
    ) -> Self:
        """The trained head that belongs to a frozen LM, in eval mode.

        Args:
            name: Its name.
            outputs: Names of what it reads.
            llm: The model whose hidden states it reads.
            width: Units of the layer between; 0 for none.
            folder: Where the file is; by default what comes with the package. The tiny test model
                gets a seeded untrained head, since nothing that it writes means anything.
            again: How to train one, for messages.

        Raises:
            UserError: If there is none for this model, or its file is damaged.
        """
        if llm.name == "tiny" and folder is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return cls(name, outputs, llm, width=width).eval()
        path = (folder or SHIPPED) / f"{name}.safetensors"
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"the user {name!r} cannot read its weights {path}: {error}; {again}"
            ) from error
        if metadata.get("llm_fingerprint") != llm.fingerprint:
            raise UserError(
                f"the user {name!r} has weights for {metadata.get('llm_fingerprint')!r} in {path}, "
                f"but the LM {llm.name!r} is {llm.fingerprint!r}; {again}"
            )
        with torch.random.fork_rng(devices=[]):
            head = cls(name, outputs, llm, width=width)
        try:
            if json.loads(metadata.get("outputs", "null")) != list(outputs):
                raise RuntimeError(f"it reads {metadata.get('outputs')}")
            head.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                f"{path} holds no weights of the user {name!r} in this version: {error}; {again}"
            ) from error
        return head.eval()

    def save(self, folder: Path) -> Path:
        """Writes NAME.safetensors, with the LM's fingerprint, and returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.safetensors"
        [llm] = self.llm
        metadata = {"llm_fingerprint": llm.fingerprint, "outputs": json.dumps(self.outputs)}
        save_file(self.state_dict(), path, metadata)
        return path

    def __call__(self, *args: Tensor) -> Tensor:  # typed, unlike Module.__call__
        """Same as `forward`."""
        outputs: Tensor = super().__call__(*args)
        return outputs
