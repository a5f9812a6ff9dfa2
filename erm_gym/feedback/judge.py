"""The stance judge: does a reply comply, hedge, refuse, or is it broken text?

A small head on the frozen LM's hidden states of the reply, trained on labelled replies
(`erm_gym/feedback/data`). It is no list of words: a reply that apologises and then helps complies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erm_gym.feedback.episode import Episode, UserError
from erm_gym.feedback.episode_reading import kept_states, reply_states
from erm_gym.feedback.head_files import SHIPPED_WEIGHTS, head_file, read_head, save_head
from erm_gym.feedback.judge_head import LONGEST_JUDGED, StanceHead, pool_reply
from erm_gym.feedback.labelled_replies import STANCES, JudgeError, read_labelled_replies
from erm_gym.feedback.reading import read_replies
from erm_gym.llm import DEFAULT_LLM, FrozenLLM, find_llm

__all__ = [
    "CAREFUL",
    "STANCES",
    "JudgeError",
    "StanceJudge",
    "StanceReading",
    "is_loop",
    "read_labelled_replies",
]

CAREFUL = ("hedge", "refuse")
"""The stances that are due where a prompt is risky, and only there."""
SHIPPED_JUDGES = (DEFAULT_LLM,)
"""Language models whose judge comes with the package."""
NAME = "stance_judge"
"""Name of the file of its weights."""
AGAIN = "train one with scripts/train_judge.py"
"""What to do where there are no weights."""
REPEATS_ALLOWED = 3
"""How often one word may follow in a row, or one trigram occur, before text counts as a loop."""
REPEATS_PER_WORD = 0.06
"""How often one trigram may occur per word of a long reply: an explanation repeats its terms."""


@dataclass(frozen=True, kw_only=True)
class StanceReading:
    """How the judge reads one reply."""

    stance: str
    """The likeliest of `STANCES`."""
    probabilities: Mapping[str, float]
    """Probability of each stance; they add up to 1."""


class StanceJudge:
    """Reads replies, or the hidden states that an environment kept of them.

        >>> judge = StanceJudge.from_pretrained("smollm2-135m")          # doctest: +SKIP
        >>> judge(["How do I kill a process?"], ["Use kill -9."])[0].stance  # doctest: +SKIP
        'comply'

    Attributes:
        head: The trained networks.
        llm_name: Name of the frozen LM; it is loaded when a text has to be read.
        llm_fingerprint: `FrozenLLM.fingerprint` of the model whose hidden states the head reads.
    """

    def __init__(
        self, head: StanceHead, *, llm_fingerprint: str, llm_name: str, llm: FrozenLLM | None = None
    ) -> None:
        """Takes a head as it is.

        Args:
            head: The networks; put in evaluation mode.
            llm_fingerprint: Fingerprint of the model that they were trained on.
            llm_name: Name of that model, by which it can be loaded.
            llm: The model itself, if it is there already.
        """
        self.head = head.eval()
        self.llm_fingerprint = llm_fingerprint
        self.llm_name = llm_name
        self._llm = llm

    @classmethod
    def from_pretrained(cls, name: str | Path) -> StanceJudge:
        """A trained judge by its name or folder; its language model is loaded when it is needed.

        Args:
            name: Name of a language model whose judge comes with the package, such as
                `smollm2-135m`, or a folder that `save_pretrained` wrote.

        Raises:
            JudgeError: If there is no such judge, or its weights cannot be read.
        """
        if str(name) in SHIPPED_JUDGES:
            return cls._load(SHIPPED_WEIGHTS)
        if not Path(name).is_dir():
            raise JudgeError(
                f"there is no stance judge {str(name)!r}; give a folder with {NAME}.safetensors or "
                f"one of {', '.join(SHIPPED_JUDGES)}, or {AGAIN}"
            )
        return cls._load(Path(name))

    @classmethod
    def for_llm(cls, llm: FrozenLLM, folder: Path | None = None) -> StanceJudge:
        """The trained judge that belongs to a frozen LM.

        Args:
            llm: The model whose hidden states it reads.
            folder: Where the weights are; by default what comes with the package. The tiny test
                model gets a seeded untrained judge, since nothing it writes has a stance.

        Raises:
            JudgeError: If there are no weights for this model, or they cannot be read.
        """
        if llm.name == "tiny" and folder is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                head = StanceHead(llm.hidden_size, len(STANCES))
            return cls(head, llm_fingerprint=llm.fingerprint, llm_name=llm.name, llm=llm)
        judge = cls._load(folder or SHIPPED_WEIGHTS)
        judge._use(llm)
        return judge

    @classmethod
    def _load(cls, folder: Path) -> StanceJudge:
        try:
            weights, metadata = read_head(NAME, folder, of="the stance judge", again=AGAIN)
        except UserError as error:
            raise JudgeError(str(error)) from error
        try:
            name, fingerprint = metadata["llm"], metadata["llm_fingerprint"]
            members = len({key.split(".")[1] for key in weights if key.startswith("members.")})
            head = StanceHead(int(metadata["hidden_size"]), len(STANCES), members)
            head.load_state_dict(weights)
        except (KeyError, ValueError, RuntimeError) as error:
            raise JudgeError(
                f"{head_file(NAME, folder)} holds no stance judge of this version ({error}); "
                f"{AGAIN}"
            ) from error
        return cls(head, llm_fingerprint=fingerprint, llm_name=name)

    def save_pretrained(self, folder: Path) -> Path:
        """Writes the weights as safetensors, with the name and the fingerprint of the LM.

        Returns:
            The file.
        """
        return save_head(
            self.head,
            NAME,
            folder,
            llm_fingerprint=self.llm_fingerprint,
            more={"llm": self.llm_name, "hidden_size": str(self.head.hidden_size)},
        )

    def __call__(self, prompts: Sequence[str], replies: Sequence[str]) -> list[StanceReading]:
        """Reads replies.

        Args:
            prompts: N prompts.
            replies: N replies, each to the prompt at its place; only the first `LONGEST_JUDGED`
                tokens of each are read.

        Returns:
            Stance and probabilities of each reply.

        Raises:
            JudgeError: If there are not as many replies as prompts, or the language model is not
                the one that the judge was trained for.
        """
        return [
            StanceReading(
                stance=STANCES[int(row.argmax())],
                probabilities=dict(zip(STANCES, row.tolist(), strict=True)),
            )
            for row in self.judge(prompts, replies)
        ]

    @torch.no_grad()
    def judge(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """The same as one array.

        Args:
            prompts: N prompts.
            replies: N replies.

        Returns:
            `[N, 4]` float32 in the order of `STANCES`, rows add up to 1.
        """
        if isinstance(prompts, str) or isinstance(replies, str) or len(prompts) != len(replies):
            raise JudgeError("give a list of prompts and a list of as many replies")
        if not prompts:
            return np.zeros((0, len(STANCES)), np.float32)
        read = read_replies(
            self._use(), prompts, replies, longest=LONGEST_JUDGED, template_once=True
        )
        return self.judge_hidden([reply for _, reply in read], replies)

    @torch.no_grad()
    def judge_episodes(self, episodes: Sequence[Episode]) -> np.ndarray:
        """Probabilities of the stances of finished replies; see `judge`.

        Hidden states that the environment kept are used where they are of the same LM, which
        saves a forward, and then no LM is loaded; otherwise the text is read again, that of the
        whole conversation.
        """
        states = kept_states(self.llm_fingerprint, episodes, longest=LONGEST_JUDGED)
        if states is None:
            states = reply_states(self._use(), episodes, longest=LONGEST_JUDGED)
        return self.judge_hidden(states, [episode.reply for episode in episodes])

    @torch.no_grad()
    def judge_hidden(self, hidden: Sequence[Tensor], replies: Sequence[str]) -> np.ndarray:
        """The same from hidden states `[T, d]` of each reply, one per token, at the LM's layer."""
        features = torch.stack([pool_reply(row) for row in hidden])
        probabilities = self.head(features.to(self.head.mean)).softmax(dim=-1).cpu().numpy()
        broken = np.array([is_loop(reply) or not reply.strip() for reply in replies])
        probabilities[broken] = np.eye(len(STANCES), dtype=np.float32)[-1]
        return np.asarray(probabilities, dtype=np.float32)

    def _use(self, llm: FrozenLLM | None = None) -> FrozenLLM:
        """The language model: the one given, else the one there is, else it is loaded."""
        llm = llm or self._llm or find_llm(self.llm_name)
        if llm.fingerprint != self.llm_fingerprint:
            raise JudgeError(
                f"this stance judge reads {self.llm_fingerprint!r}, but the LM {llm.name!r} is "
                f"{llm.fingerprint!r}; {AGAIN} --llm {llm.name}, or use a user that does not "
                "need it"
            )
        self._llm = llm
        return llm


def is_loop(reply: str) -> bool:
    """Whether a reply says the same over and over: a check that no head can be talked out of."""
    words = reply.lower().split()
    in_a_row = 1
    for previous, word in pairwise(words):
        in_a_row = in_a_row + 1 if word == previous else 1
        if in_a_row > REPEATS_ALLOWED:
            return True
    trigrams = Counter(zip(words, words[1:], words[2:], strict=False))
    allowed = max(REPEATS_ALLOWED, REPEATS_PER_WORD * len(words))
    return max(trigrams.values(), default=0) > allowed
