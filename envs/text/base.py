"""What all text environments share: rows that begin, write, are judged, and begin anew."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from erm_gym.emotion import EmotionalCritic, OnlineCriticTrainer, read_anchors
from erm_gym.envs.text.critic_rows import FELT_SPACES, CriticRows, resolve_critic
from erm_gym.envs.text.options import OptionError
from erm_gym.envs.text.reaction import Reaction
from erm_gym.envs.text.resets import row_seeds, rows_to_reset
from erm_gym.envs.text.rows import EpisodeStart, RowsSnapshot, TextRows
from erm_gym.envs.text.view import Observation, View, ViewSnapshot
from erm_gym.envs.text.writer import Options, Writer, Written
from erm_gym.feedback import CheckedUser, Feedback, load_prompts, make_user
from erm_gym.feedback.prompts import is_shipped
from erm_gym.llm import FrozenLLM, SlotOutput, load_llm

Infos = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TextSnapshot:
    """The whole state of a text environment, independent of what happens to it later."""

    rows: RowsSnapshot
    """Texts, KV cache, generators and prompts."""
    view: ViewSnapshot
    """What is seen and felt, and what is due."""


class TextVectorEnv(VectorEnv, ABC, Generic[Options]):
    """A vector environment in which every row writes a reply to a prompt.

    Subclasses say which writer turns actions into tokens, and what follows a finished reply.

    Attributes:
        options: What the environment is made of.
        llm: The frozen LM.
        user: Who gives the feedback.
        prompts: What may be asked.
        critic: The critic that watches, if one does.
        online: Who trains it on the user's feedback, if `options.online_critic`; the critic is then
            the environment's own copy. `online.restore()` takes back what it learned, which `reset`
            and `restore` of the environment do not.
        unheard: Rows whose replies the user is not asked about, `[B]` bool. None is, unless whoever
            steps the environment has no use for what a row writes, and says so here.
        steps_taken: Steps of the environment, those included after which a next prompt could not
            be read.
    """

    options_type: ClassVar[type[Any]]
    """Class of the options."""
    env_id: ClassVar[str]
    """What the environment is registered as."""
    metadata: dict[str, Any] = {
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "autoreset_modes": list(AutoresetMode),
    }

    def __init__(self, num_envs: int = 1, options: Options | None = None) -> None:
        """Loads the LM, the user and the critic.

        Args:
            num_envs: Number B of rows, >= 1.
            options: What the environment is made of.

        Raises:
            OptionError: If there is no row, an option does not fit the LM, or a prompt leaves no
                room for a reply.
            CriticError: If the critic does not fit the LM.
        """
        if num_envs < 1:
            raise OptionError(f"num_envs must be at least 1, got {num_envs}")
        self.options: Options = options or self.options_type()
        self.num_envs = num_envs
        self.render_mode = self.options.render_mode
        self.metadata = {**self.metadata, "autoreset_mode": self.options.autoreset_mode}
        self.llm = _resolve_llm(self.options)
        self.user = self.make_user()
        default_split = "train" if is_shipped(self.options.prompts) else "all"
        self.prompts = load_prompts(self.options.prompts).split(self.options.split or default_split)
        self.critic: EmotionalCritic | None = None
        if self.options.critic is not None:
            self.critic = resolve_critic(self.options.critic, self.llm)
        self.online: OnlineCriticTrainer | None = None
        if self.critic is not None and self.options.online_critic:
            self.critic = copy.deepcopy(self.critic)
            anchors = read_anchors(self.llm, self.critic)
            self.online = OnlineCriticTrainer(self.critic, anchors=anchors)
        self._rows = TextRows(
            self.llm,
            self.options.order_of(self.prompts),
            num_envs,
            self.options.max_new_tokens,
            layers=() if self.critic is None else self.critic.config.layers,
        )
        self._check_room()
        self._critic_rows = None
        if self.critic is not None:
            self._critic_rows = CriticRows(
                self.critic,
                num_envs,
                clock=self.options.fear_clock,
                keep_tonic_fear=self.options.keep_tonic_fear,
                trainer=self.online,
            )
        self._writer = self.make_writer()
        common = self.common_spaces()
        felt = {} if self.critic is None else FELT_SPACES
        self.single_observation_space = spaces.Dict(
            {**common, **self._writer.observation_spaces(), **felt}
        )
        self.single_action_space = self._writer.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._view = View(num_envs, common, self._writer, self._critic_rows)
        self.unheard = np.zeros(num_envs, bool)
        self.steps_taken = 0
        self._started = False
        self._closed = False

    @classmethod
    def from_keywords(cls, num_envs: int, options: Mapping[str, Any]) -> Self:
        """An environment from the fields of its options.

        Raises:
            OptionError: If an option is unknown, out of range, or does not fit the LM.
            CriticError: If the critic does not fit the LM.
        """
        return cls(num_envs, cls.options_type.from_keywords(**options))

    def make_user(self) -> CheckedUser:
        """Who gives the feedback.

        Raises:
            OptionError: If something of it needs several turns, and there is one.
            UserError: If there is no such user.
        """
        user = make_user(self.options.user, self.llm)
        self.require_effect(user)
        return user

    def require_effect(self, user: CheckedUser) -> None:
        """Makes sure that nothing of a user goes without effect here.

        Raises:
            OptionError: If something of it needs several turns, and there is one.
        """
        check_turns(user, self.env_id)

    @abstractmethod
    def make_writer(self) -> Writer[Any]:
        """Who turns actions into tokens."""

    def common_spaces(self) -> dict[str, spaces.Space[Any]]:
        """What is observed of one row whatever its actions are."""
        d = self.llm.hidden_size
        return {
            "hidden": spaces.Box(-np.inf, np.inf, (d,), np.float32),
            "prompt_hidden": spaces.Box(-np.inf, np.inf, (d,), np.float32),
            "progress": spaces.Box(0.0, 1.0, (1,), np.float32),
        }

    def _check_room(self) -> None:
        longest = max(map(len, self._rows.prompt_tokens.values()))
        room = self.llm.context_length - longest
        if self.options.max_new_tokens > room:
            raise OptionError(
                f"max_new_tokens must be at most {room}: the longest prompt has {longest} "
                f"tokens and {self.llm.name} reads {self.llm.context_length}; "
                f"got {self.options.max_new_tokens}"
            )

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, Infos]:
        """Begins new episodes.

        Args:
            seed: Row i is seeded with `seed + i`, or with the i-th of a list; None goes on with
                the rows' generators, which the first reset seeds with `options.seed`. A row that
                is seeded begins from nothing but its seed: tonic fear that was kept is gone.
            options: `{"reset_mask": [B] bool array}` resets those rows only: rows that have
                finished, or that get a new seed.

        Returns:
            Observations of all rows, and infos of the rows that were reset.

        Raises:
            ValueError: If the mask has another shape or type, no row in it, or a row that is
                still writing and gets no seed.
        """
        self._require_open()
        if seed is None and not self._started:
            seed = self.options.seed
        seeds = row_seeds(seed, self.num_envs)
        mask = rows_to_reset(options, seeds, self._view.done, started=self._started)
        anew = [row for row in np.flatnonzero(mask).tolist() if seeds[row] is not None]
        for row in anew if self._started else range(self.num_envs):
            self._rows.seed(row, seeds[row])
        if self._critic_rows is not None:
            self._critic_rows.set_tonic_fear(anew, 0.0)
        infos: Infos = {}
        self._begin(np.flatnonzero(mask), infos)
        self._started = True
        return self._view.observations(), infos

    def replay(self, starts: Sequence[EpisodeStart | None]) -> tuple[Observation, Infos]:
        """Begins episodes again that were begun before.

        Args:
            starts: One per row, as `episode_start` gave them in an environment with the same
                options; None for rows that are left alone.

        Returns:
            As `reset`.

        Raises:
            ValueError: If there is not one per row, or a row is left alone that never began.
        """
        self._require_open()
        begun = np.array([start is not None for start in starts])
        if len(starts) != self.num_envs or not begun.any():
            raise ValueError(f"replay needs {self.num_envs} starts, got {len(starts)} or only None")
        if not self._started and not begun.all():
            raise ValueError("the first replay must be of all rows")
        for row, start in enumerate(starts):
            if start is not None:
                self._rows.start_as(row, start)
                if self._critic_rows is not None:
                    self._critic_rows.set_tonic_fear([row], start.tonic_fear)
        infos: Infos = {}
        self._begin(np.flatnonzero(begun), infos)
        self._started = True
        return self._view.observations(), infos

    def episode_start(self, row: int) -> EpisodeStart:
        """Where the episode that a row is in started, for `replay`."""
        return self._rows.starts[row]

    def step(self, actions: Any) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """Acts in every row.

        Args:
            actions: One action per row.

        Returns:
            Observations, rewards `[B]` float64, terminated `[B]`, truncated `[B]`, infos.

        Raises:
            ValueError: If the actions have another shape or type, or are out of range.
            UserError: If the user fails.
            FloatingPointError: If the LM's logits are not finite. After any of these errors, or an
                interrupt, the rows are as they were before the step. Only if the next prompt could
                not be read, the step has been taken, and the rows that wanted to read it wait: they
                begin anew with the next step or reset.
        """
        self._require_open()
        if not self._started:
            raise RuntimeError("reset the environment before the first step")
        chosen = self._writer.check(actions)
        mode, waiting = self.metadata["autoreset_mode"], self._view.done
        if mode == AutoresetMode.DISABLED and waiting.any():
            raise ValueError(
                f"row {int(waiting.argmax())} has finished: reset it first with "
                "options={'reset_mask': mask}"
            )
        mark, view = self._rows.mark(), self._view.snapshot()
        try:
            rewards, written, reactions = self._write(chosen, ~waiting)
            terminated, truncated = self._episode_ends(written, reactions)
            done = terminated | truncated
            self._feel(~waiting, reactions, done)
            infos: Infos = {}
            for row, reaction in reactions.items():
                rewards[row] += reaction.feedback.score
                self._view.terms["feedback"][row] += reaction.feedback.score
                if not done[row]:
                    self._add_info(infos, self._turn_info(row, reaction), row)
                    continue
                rewards[row] += self._final_reward(row, reaction)
                info = self._final_info(row, reaction)
                if mode == AutoresetMode.SAME_STEP:
                    final = {"final_obs": self._view.observation(row), "final_info": info}
                    self._add_info(infos, final, row)
                else:
                    self._add_info(infos, info, row)
            self._go_on({row: each for row, each in reactions.items() if not done[row]})
        except BaseException:  # an interrupt, too, leaves the rows as they were
            self._rows.go_back(mark)
            self._view.restore(view)
            raise
        self.steps_taken += 1
        # In NEXT_STEP, rows that wait begin anew in place of a step; in SAME_STEP none waits, but
        # for those whose next prompt could not be read.
        self._view.done = waiting | done
        if self._critic_rows is not None:
            self._critic_rows.learn()
        begin = waiting | done if mode == AutoresetMode.SAME_STEP else waiting
        self._begin(np.flatnonzero(begin), infos)
        return self._view.observations(), rewards, terminated, truncated, infos

    def _write(
        self, chosen: np.ndarray, running: np.ndarray
    ) -> tuple[np.ndarray, Written, dict[int, Reaction]]:
        """Writes, and asks the user; rewards but for the feedback, and reactions by row."""
        if running.any():
            written = self._writer.write(chosen, running)
        else:
            nothing = np.zeros(self.num_envs, bool)
            written = Written(prior=np.zeros(self.num_envs), ended=nothing, full=nothing)
        rewards = self.options.prior_weight * written.prior + 0.0  # and not minus zero
        self._view.terms["prior"] += rewards
        self._see(np.flatnonzero(running))
        finished = np.flatnonzero(written.ended | written.full)
        return rewards, written, self._react(finished, written.ended)

    def _react(self, finished: np.ndarray, ended: np.ndarray) -> dict[int, Reaction]:
        """Asks the user about finished replies, but for those of rows that are `unheard`."""
        episodes = {
            row: self._rows.episode(row, ended=bool(ended[row]), last_turn=self._is_last_turn(row))
            for row in finished.tolist()
        }
        asked = [row for row in episodes if not self.unheard[row]]
        answers = {row: Feedback.silent() for row in episodes}
        if asked:
            turns = [len(self._rows.turns[row]) for row in asked]
            rng = np.random.default_rng([*self._rows.state.seeds[asked].tolist(), *turns])
            said = self.user([episodes[row] for row in asked], rng)
            answers.update(zip(asked, said, strict=True))
        return {
            row: Reaction(episode=episode, feedback=answers[row])
            for row, episode in episodes.items()
        }

    def _is_last_turn(self, row: int) -> bool:
        """Whether the episode ends with the reply that a row just finished, in any case."""
        return True

    def _episode_ends(
        self, written: Written, reactions: Mapping[int, Reaction]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whose episodes are terminated and truncated, `[B]` bool each."""
        return written.ended, written.full

    def _go_on(self, reactions: Mapping[int, Reaction]) -> None:
        """Lets rows whose reply, but not whose episode, is finished go on."""

    def _feel(
        self, running: np.ndarray, reactions: Mapping[int, Reaction], over: np.ndarray
    ) -> None:
        """Lets the critic read the last token of every running row, and the feedback."""
        if self._critic_rows is None or not running.any():
            return
        feedback = None
        finished = np.zeros(self.num_envs, bool)
        if reactions:
            feedback = np.full(self.num_envs, np.nan, np.float32)
            for row, reaction in reactions.items():
                finished[row] = True
                if reaction.feedback.given:
                    feedback[row] = reaction.feedback.score
        self._critic_rows.read_token(
            self._rows.state.token_states,
            running,
            feedback,
            reply_over=finished,
            episode_over=over,
        )

    def _begin(self, rows: np.ndarray, infos: Infos) -> None:
        """Begins new episodes in rows."""
        if not len(rows):
            return
        self._view.done[rows] = True  # until all is well
        try:
            output = self._rows.begin(rows)
            for term in self._view.terms.values():
                term[rows] = 0.0
            if self._critic_rows is not None:
                self._rows.note_tonic_fear(rows, self._critic_rows.tonic_fear)
                self._critic_rows.begin(rows, output)
            self._read_on(rows, output)
        except BaseException:
            self._rows.abandon(rows)
            raise
        self._view.done[rows] = False
        for row in rows.tolist():
            self._add_info(infos, {"prompt": self._rows.prompts[row]}, row)

    def _read_on(self, rows: np.ndarray, output: SlotOutput) -> None:
        """Takes in what the LM says in rows that were just asked something."""
        self._view.own["prompt_hidden"][rows] = self._rows.state.prompt_hidden[rows]
        self._writer.look(rows, output)
        self._see(rows)

    def _see(self, rows: np.ndarray) -> None:
        """Fills the observation of rows from where they are."""
        observation, state = self._view.own, self._rows.state
        observation["hidden"][rows] = state.hidden[rows]
        observation["progress"][rows, 0] = state.lengths[rows] / self.options.max_new_tokens

    def _turn_info(self, row: int, reaction: Reaction) -> Infos:
        """What is told of a reply that has just been finished."""
        return {**reaction.info(), "token_fear": self._rows.felt(row)}

    def _final_info(self, row: int, reaction: Reaction) -> Infos:
        """What is told of an episode that has just ended."""
        return {
            **self._turn_info(row, reaction),
            "prompt": reaction.episode.prompt,
            "reward_terms": {name: float(term[row]) for name, term in self._view.terms.items()},
        }

    def _final_reward(self, row: int, reaction: Reaction) -> float:
        """What the last step of an episode earns besides the feedback on its last reply."""
        return 0.0

    def action_masks(self) -> np.ndarray:
        """Which actions are allowed, `[B, A]` bool; where none is ever forbidden, all of them.

        Raises:
            ValueError: If actions are not discrete.
        """
        space = self.single_action_space
        if not isinstance(space, spaces.Discrete):
            raise ValueError(f"the actions of {self.env_id} are no choices: nothing can be masked")
        mask = self._writer.observation.get("action_mask")
        return np.ones((self.num_envs, int(space.n)), bool) if mask is None else mask.astype(bool)

    def snapshot(self) -> TextSnapshot:
        """Copies the whole state: KV cache, generators, prompts, texts, feelings, observation.

        What a critic has learned while acting is no part of it, and stays.

        Returns:
            What `restore` goes back to, any number of times.

        Raises:
            RuntimeError: If nothing has begun yet.
        """
        self._require_open()
        if not self._started:
            raise RuntimeError("reset the environment before the first snapshot")
        return TextSnapshot(rows=self._rows.snapshot(), view=self._view.snapshot())

    def restore(self, snapshot: TextSnapshot) -> Observation:
        """Goes back to a snapshot of this environment, or of one with the same options.

        Args:
            snapshot: What `snapshot` returned.

        Returns:
            The observations of that moment.
        """
        self._require_open()
        self._rows.restore(snapshot.rows)
        self._view.restore(snapshot.view)
        self._started = True
        return self._view.observations()

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the environment is closed; make a new one")

    def render(self) -> tuple[Any, ...] | None:
        """The text of every row so far, every token in the colour of its fear.

        Returns:
            B strings with colour codes if `render_mode` is `ansi`, B pictures
            `[height, width, 3]` uint8 if it is `rgb_array`, None if it is None.
        """
        self._require_open()
        if self.render_mode is None:
            return None
        from erm_gym.envs.text.rendering import to_ansi, to_rgb

        paint = to_ansi if self.render_mode == "ansi" else to_rgb
        return tuple(paint(self._rows.lines(row)) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Forgets the KV cache."""
        self._closed = True
        self._rows.close()


def check_turns(user: CheckedUser, where: str) -> None:
    """Makes sure that nothing of a user goes without effect where an episode is a single reply.

    Raises:
        OptionError: If something does; it names what.
    """
    if user.needs_turns:
        raise OptionError(
            f"the user {user.name!r} has {', '.join(user.needs_turns)}, which needs a conversation "
            f"of several turns; in {where} an episode is a single reply: leave it out, or use "
            "ErmGym/Conversation-v0"
        )


def _resolve_llm(options: Any) -> FrozenLLM:
    if isinstance(options.llm, str):
        return load_llm(options.llm, dtype=options.dtype, device=options.device)
    llm: FrozenLLM = options.llm
    return llm
