"""The reward-model user: any transformers sequence classifier scores the reply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from erm_gym.feedback.episode import Episode, Feedback, UserError
from erm_gym.feedback.episode_reading import messages_before
from erm_gym.llm import FrozenLLM

LONGEST = 4096
"""Tokens that are read at most if neither model nor tokenizer says how many it can."""
HEAD = "ForSequenceClassification"


class RewardModelUser:
    """Scores replies with a reward model: any transformers sequence classifier, by name or folder.

    A model with one output is a reward model: score = tanh(scale * logit), component `reward`. A
    model with several is a classifier: with the probability p of the label that is named,
    score = 2 p - 1, components `LABEL` = p and `rest` = p - 1; p is a softmax over the labels, or a
    sigmoid if the model's `problem_type` is `multi_label_classification`.

    The model reads the conversation under its tokenizer's chat template. Where there is none, it
    reads two texts, what was said before and the reply, as a pair. What is too long loses its
    beginning.

    A reward model of the usual size costs more than writing with a small LM: it is meant for a GPU,
    or for small models.

    Attributes:
        name: Name or folder of the model.
        model: The transformers model, frozen.
        tokenizer: Its tokenizer.

    Source: the sequence classifiers of transformers; tanh as the map to [-1, 1] is our own.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        *,
        label: str = "",
        scale: float = 1.0,
        batch_size: int = 32,
    ) -> None:
        self.name = name
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self._scale = scale
        self._batch_size = batch_size
        if not (math.isfinite(scale) and scale > 0.0):
            raise self._error(f"scale={scale}", "give a number above 0")
        if batch_size < 1:
            raise self._error(f"batch_size={batch_size}", "give at least 1")
        self._label, self._index = label, self._find(label)
        self._longest = min(
            getattr(model.config, "max_position_embeddings", None) or LONGEST,
            tokenizer.model_max_length,
        )
        self._prepare_padding()

    @classmethod
    def for_llm(
        cls,
        llm: FrozenLLM,
        *,
        model: str = "",
        label: str = "",
        scale: float = 1.0,
        batch_size: int = 32,
    ) -> Self:
        """Loads the reward model; it runs on the device of the frozen LM.

        Args:
            llm: The frozen LM.
            model: Hub id or folder of a sequence classifier, weights as safetensors.
            label: Which label counts; needed if the model has several, else empty.
            scale: Factor of the logit of a model with one output, above 0.
            batch_size: Replies that are read at once, at least 1.

        Raises:
            UserError: If the model is not there, is damaged or no sequence classifier, or an option
                does not fit it.
        """
        if not model:
            raise UserError(
                "the user 'reward-model' needs a model; give model=NAME, a hub id or a folder"
            )
        loaded, tokenizer = _load(model)
        return cls(
            model,
            loaded.to(llm.device),
            tokenizer,
            label=label,
            scale=scale,
            batch_size=batch_size,
        )

    def __call__(self, episodes: Sequence[Episode], rng: np.random.Generator) -> list[Feedback]:
        """Reads the replies in batches; draws nothing from `rng`.

        Raises:
            UserError: If the model answers something that is no number.
        """
        feedback = []
        for first in range(0, len(episodes), self._batch_size):
            batch = episodes[first : first + self._batch_size]
            for episode, row in zip(batch, self.logits(batch), strict=True):
                if not bool(torch.isfinite(row).all()):
                    raise self._error(
                        f"answers {row.tolist()} to the prompt {episode.prompt.text!r}",
                        "look at its weights, or load them in another precision",
                    )
                feedback.append(self._feedback(row))
        return feedback

    @torch.no_grad()
    def logits(self, episodes: Sequence[Episode]) -> Tensor:
        """What the model makes of finished replies: `[N, outputs]` float32 on the CPU."""
        if self.tokenizer.chat_template is None:
            said = [
                "\n".join(message["content"] for message in messages_before(episode))
                for episode in episodes
            ]
            texts: tuple[list[str], ...] = (said, [episode.reply for episode in episodes])
        else:
            texts = (
                [
                    self.tokenizer.apply_chat_template(
                        [
                            *messages_before(episode),
                            {"role": "assistant", "content": episode.reply},
                        ],
                        tokenize=False,
                    )
                    for episode in episodes
                ],
            )
        encoded = self.tokenizer(
            *texts,
            add_special_tokens=len(texts) == 2,  # a chat template brings its own
            truncation=True,
            max_length=self._longest,
            padding=True,
            return_tensors="pt",
        )
        logits: Tensor = self.model(**encoded.to(self.model.device)).logits
        return logits.float().cpu()

    def _feedback(self, logits: Tensor) -> Feedback:
        if self._index is None:
            score = math.tanh(self._scale * float(logits))
            return Feedback(score=score, components={"reward": score})
        several = self.model.config.problem_type == "multi_label_classification"
        p = float((logits.sigmoid() if several else logits.softmax(-1))[self._index])
        return Feedback(score=2.0 * p - 1.0, components={self._label: p, "rest": p - 1.0})

    def _find(self, label: str) -> int | None:
        """The number of the label that counts, or None if the model has one output."""
        labels: dict[int, str] = self.model.config.id2label
        names = [labels[number] for number in sorted(labels)]
        if len(names) == 1:
            if label:
                raise self._error(f"has one output, and label={label!r} was given", "leave it out")
            return None
        if label not in names:
            asked = f"no label {label!r}" if label else f"{len(names)} labels"
            raise self._error(f"has {asked}", f"give label= one of {names}")
        return names.index(label)

    def _prepare_padding(self) -> None:
        """Pads on the right, and cuts on the left; a decoder's head must know what padding is."""
        self.tokenizer.padding_side, self.tokenizer.truncation_side = "right", "left"
        if self.tokenizer.pad_token is None:
            if self.tokenizer.eos_token is None:
                raise self._error("has a tokenizer without a pad token", "set its pad_token")
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model.config.get_text_config().pad_token_id = self.tokenizer.pad_token_id

    def _error(self, what: str, fix: str) -> UserError:
        return UserError(f"the user 'reward-model' ({self.name}) {what}; {fix}")


def _load(name: str) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    where = f"the user 'reward-model' cannot load {name!r}"
    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {error}; give a folder with config.json, or a hub id") from error
    kinds = config.architectures or []
    if not any(kind.endswith(HEAD) for kind in kinds):
        raise UserError(
            f"{where}: it is {kinds or 'of no known kind'} and no sequence classifier, so its "
            f"head would be random; give a model whose config names one that ends in {HEAD}"
        )
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            name, config=config, use_safetensors=True, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{where}: {error}; download or copy it again, with its weights as safetensors and its "
            "tokenizer"
        ) from error
    if report["missing_keys"]:
        raise UserError(
            f"{where}: its weights lack {sorted(report['missing_keys'])}; download or copy it again"
        )
    return model, tokenizer
