"""`ErmGym/Conversation-v0`: several turns with a user who answers, remembers, and leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from erm_gym.envs.text.base import TextVectorEnv, check_turns
from erm_gym.envs.text.candidate import CandidateWriter
from erm_gym.envs.text.control import ControlWriter
from erm_gym.envs.text.options import ConversationOptions, OptionError
from erm_gym.envs.text.reaction import Reaction
from erm_gym.envs.text.rows import WrittenTurn
from erm_gym.envs.text.single import make_single
from erm_gym.envs.text.token import TokenWriter
from erm_gym.envs.text.writer import Writer, Written
from erm_gym.feedback import CheckedUser, Turn, make_conversing_user
from erm_gym.llm import SlotOutput

WRITERS: dict[str, type[Writer[Any]]] = {
    "candidates": CandidateWriter,
    "tokens": TokenWriter,
    "control": ControlWriter,
}
UTTERANCE_ROOM = 128
"""Tokens kept free in the context for what the user says next; with less, the turn is the last."""


class ConversationVectorEnv(TextVectorEnv[ConversationOptions]):
    """Talk with a simulated user over several turns.

    ## Description

    A user asks a frozen language model for something. When a reply is finished the user reacts to
    it with feedback, and answers in words that depend on its state: it remembers what it asked and
    was told, loses patience, and leaves when it has what it wanted or has had enough. The model
    reads the whole conversation. Tonic fear lives on from turn to turn, and decays with each; with
    `keep_tonic_fear` it outlives the conversation, too.

    ## Action Space

    With `actions="candidates"` (default), `"tokens"` or `"control"`, that of
    `ErmGym/CandidateGeneration-v0`, `ErmGym/TokenGeneration-v0` or `ErmGym/EmotionControl-v0`.

    ## Observation Space

    That of the same environment, where `prompt_hidden` is the mean over what the user said last
    and `progress` is that of the reply, and

    | key | shape | dtype | what |
    |---|---|---|---|
    | `turn` | `[1]` | float32 | share of `max_turns` that is over, in [0, 1] |

    After a reply, the next observation is that of the next turn's first token. In the final
    observation `progress` and `turn` are 1.

    ## Rewards

    The user's feedback in [-1, 1] at the last step of every reply; at the end of the conversation
    also `verdict_weight` * the user's verdict on the whole of it, in [-1, 1]. With
    `prior_weight` > 0, every step adds `prior_weight` * log p_LM(token) at the prior temperature.
    The terms are summed over the conversation in `info["reward_terms"]`.

    ## Episode End

    Terminated when the user leaves; truncated after `max_turns` replies, or when the model's
    context has no room for another turn. A user knows of its last turn, and gives its verdict,
    unless its own words turn out to be what there is no room for: then the verdict is 0.

    ## Info

    At reset `prompt` (a `Prompt`). At the end of every reply what
    `ErmGym/CandidateGeneration-v0` has at its end. At the end of the conversation also `verdict`
    and `turns`, the number of replies; `judged_episode.turns` holds the earlier ones.

    ## Arguments

    See `ConversationOptions`. A `user` that says nothing itself is given words by
    `ConversingUser`.

    ## Registered Configurations

    - `ErmGym/Conversation-v0`

    Source: project design, sections 5 and 6.
    """

    options_type = ConversationOptions
    env_id = "ErmGym/Conversation-v0"

    def make_user(self) -> CheckedUser:
        """The user, who is given words if it has none."""
        user = make_conversing_user(self.options.user, self.llm)
        self.require_effect(user)
        return user

    def require_effect(self, user: CheckedUser) -> None:
        """As of all text environments, if an episode is a single reply."""
        if self.options.max_turns == 1:
            check_turns(user, f"{self.env_id} with max_turns=1")

    def make_writer(self) -> Writer[Any]:
        """The writer that `actions` names."""
        return WRITERS[self.options.actions](self._rows, self._critic_rows, self.options)

    def common_spaces(self) -> dict[str, spaces.Space[Any]]:
        """As of all text environments, and `turn`."""
        return {**super().common_spaces(), "turn": spaces.Box(0.0, 1.0, (1,), np.float32)}

    def _is_last_turn(self, row: int) -> bool:
        turn = len(self._rows.turns[row]) + 1
        needed = UTTERANCE_ROOM + self.options.max_new_tokens
        return turn >= self.options.max_turns or self._rows.room(row) < needed

    def _episode_ends(
        self, written: Written, reactions: Mapping[int, Reaction]
    ) -> tuple[np.ndarray, np.ndarray]:
        terminated = np.zeros(self.num_envs, bool)
        truncated = np.zeros(self.num_envs, bool)
        for row, reaction in reactions.items():
            leaves, says = reaction.feedback.leaves, reaction.feedback.says
            terminated[row] = leaves
            truncated[row] = not leaves and (
                reaction.episode.last_turn or not self._rows.has_room(row, says)
            )
        for name in ("progress", "turn"):
            self._view.own[name][terminated | truncated] = 1.0
        return terminated, truncated

    def _go_on(self, reactions: Mapping[int, Reaction]) -> None:
        if not reactions:
            return
        rows = np.array(list(reactions))
        turns = []
        for row, reaction in reactions.items():
            tokens, fear = self._rows.written(row)
            turn = Turn(
                said=self._rows.said[row],
                reply=reaction.episode.reply,
                feedback=reaction.feedback,
            )
            turns.append(WrittenTurn(turn=turn, tokens=tokens, fear=fear))
        output = self._rows.go_on(rows, [each.feedback.says for each in reactions.values()], turns)
        if self._critic_rows is not None:
            self._critic_rows.listen(rows, output)
        self._read_on(rows, output)

    def _read_on(self, rows: np.ndarray, output: SlotOutput) -> None:
        super()._read_on(rows, output)
        over = [len(self._rows.turns[row]) / self.options.max_turns for row in rows.tolist()]
        self._view.own["turn"][rows, 0] = over

    def _final_info(self, row: int, reaction: Reaction) -> dict[str, Any]:
        info = super()._final_info(row, reaction)
        verdict = reaction.feedback.verdict or 0.0
        info["reward_terms"]["verdict"] = self.options.verdict_weight * verdict
        return {**info, "verdict": verdict, "turns": len(self._rows.turns[row]) + 1}

    def _final_reward(self, row: int, reaction: Reaction) -> float:
        return self.options.verdict_weight * (reaction.feedback.verdict or 0.0)

    def _check_room(self) -> None:
        super()._check_room()
        longest = max(map(len, self._rows.prompt_tokens.values()))
        room = self.llm.context_length - longest
        if self.options.max_turns > 1 and room < 2 * self.options.max_new_tokens + UTTERANCE_ROOM:
            raise OptionError(
                f"there is no room for a second turn: the longest prompt has {longest} tokens, a "
                f"reply may have {self.options.max_new_tokens}, and {self.llm.name} reads "
                f"{self.llm.context_length}; lower max_new_tokens or set max_turns=1"
            )


def conversation_vec(num_envs: int = 1, **options: Any) -> VectorEnv:
    """Entry point of `gym.make_vec`.

    Args:
        num_envs: Number of rows, >= 1.
        **options: Fields of `ConversationOptions`.
    """
    return ConversationVectorEnv.from_keywords(num_envs, options)


def conversation_env(**options: Any) -> gym.Env:
    """Entry point of `gym.make`; the options are fields of `ConversationOptions`."""
    return make_single(ConversationVectorEnv, options)
