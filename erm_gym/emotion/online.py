"""Learning while acting: how replies are received teaches the critic which contexts to fear."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from erm_gym.emotion._checks import require_range
from erm_gym.emotion.bounded_weights import BoundedWeights
from erm_gym.emotion.contexts import Context, contexts_after, fear_after, outputs_after
from erm_gym.emotion.critic import EmotionalCritic
from erm_gym.emotion.signals import EMOTIONS

FEAR = EMOTIONS.index("fear")
"""Column of fear among the outputs of an ERM; danger is put behind them, in the last column."""


@dataclass(frozen=True, kw_only=True)
class OnlineTraining:
    """Hyperparameters of learning while acting.

    Source: emotional reward model (the project's seed document), train_on_feedback, has afraid_from
    and the two aims; the scores are the project design's, everything else is our own.
    """

    bad_score: float = -0.5
    """Feedback below it is a bad outcome; in [-1, 1]."""
    good_score: float = 0.5
    """Feedback above it is a good outcome; in [-1, 1], and not below `bad_score`."""
    afraid_from: float = 0.5
    """Fear above it is high, and not above it is low; in [0, 1]."""
    high_aim: float = 0.8
    """What fear is raised towards after a bad outcome at low fear; in [0, 1]."""
    low_aim: float = 0.2
    """What fear is lowered towards after a good outcome at high fear; in [0, 1]."""
    learning_rate: float = 5e-4
    """Step size of Adam."""
    batch_size: int = 8
    """Replies per batch."""
    updates_per_batch: int = 2
    """Steps of Adam on each batch."""
    replay_size: int = 256
    """Replies that are remembered; the oldest are forgotten first."""
    position_dropout: float = 0.6
    """Share of the positions of a context that are passed over while its fear is moved, other ones
    each time, so that its wording matters less; in [0, 1)."""
    anchors_per_batch: int = 24
    """Fixed contexts per batch, if there are any, in which nothing is to change."""
    anchor_weight: float = 0.15
    """Weight of what is not to change in the loss; at least 0."""
    max_gradient: float = 1.0
    """Norm that gradients are clipped to."""
    max_step: float = 0.02
    """Most that one update moves the weights of the ERM, and those of the danger net, relative to
    their norm at the start; in (0, 1]."""
    max_drift: float = 0.25
    """Most that they ever move away from their start, likewise; in (0, 1]."""
    max_positions: int = 128
    """Positions of a context that are remembered, the last ones."""
    seed: int = 0
    """Decides what is drawn from what is remembered, and passed over."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name in ("bad_score", "good_score"):
            require_range(owner, name, getattr(self, name), -1.0, 1.0)
        require_range(owner, "good_score", self.good_score, self.bad_score, 1.0)
        for name in ("afraid_from", "high_aim", "low_aim"):
            require_range(owner, name, getattr(self, name), 0.0, 1.0)
        require_range(owner, "high_aim", self.high_aim, self.low_aim, 1.0)
        require_range(owner, "position_dropout", self.position_dropout, 0.0, 0.99)
        require_range(owner, "learning_rate", self.learning_rate, 1e-8, 1.0)
        for name in ("batch_size", "updates_per_batch", "replay_size", "max_positions"):
            require_range(owner, name, getattr(self, name), 1, math.inf)
        for name in ("anchors_per_batch", "anchor_weight", "seed"):
            require_range(owner, name, getattr(self, name), 0, math.inf)
        for name in ("max_gradient", "max_step", "max_drift"):
            require_range(owner, name, getattr(self, name), 1e-8, math.inf)


@dataclass(frozen=True, kw_only=True)
class OnlineUpdate:
    """What came of one update."""

    raised: int
    """Contexts of new replies whose fear is to rise; a reply has two contexts."""
    lowered: int
    """Those whose fear is to sink."""
    loss: float
    """Of the last step; nan if there was nothing to learn."""
    step: float
    """How far the update moved the weights, relative to their norm: the larger of ERM and danger
    net."""
    drift: float
    """How far they are from their start now, likewise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lesson:
    """A context, and what is to become of its fear."""

    context: Context
    felt_first: Tensor  # [O + 1] what the critic made of it before it learned anything
    direction: int  # 1 for up, -1 for down, 0 for neither: then nothing is to change


class OnlineCriticTrainer:
    """Raises the fear of contexts that ended badly without it, and lowers it where it was unneeded.

    A finished reply has two contexts: the end of the prompt, where fear can still act, and the end
    of the reply, so that fear learned lasts while a reply is written. In each, if the reply was a
    bad outcome and the fear that the critic felt was low, the ERM's phasic fear and the danger net
    rise towards 0.8; if it was a good one and fear was high, they sink towards 0.2. Tonic fear does
    not count: it is a trace of pain and says nothing about the context.

    What else the critic felt before it learned anything is held: all other outputs of the ERM
    everywhere, and fear and danger, too, after neutral feedback and in fixed anchor contexts.
    Good outcomes at low fear and bad ones at high fear teach nothing.

    Encoders, pooling and heads of the ERM and the last layer of the danger net learn; the ERM's
    GRU, the pain net and the modulators stay as they are, so that a bias that an agent copied from
    the critic stays the critic's. A `CriticState` in the middle of a text stays valid: its sums of
    encoded positions were made with slightly older weights.

    The trainer changes the critic that it is given. Give it a copy to keep the original.

    >>> from erm_gym.emotion import CriticConfig, ERMConfig
    >>> sizes = {"hidden_size": 8, "vocab_size": 9, "layer": 1, "erm": ERMConfig(layers=(1, 2))}
    >>> critic = EmotionalCritic(CriticConfig(llm_name="any", llm_fingerprint="0", **sizes))
    >>> trainer = OnlineCriticTrainer(critic)
    >>> prompt, reply = torch.ones(5, 2, 8), torch.ones(3, 2, 8)
    >>> trainer.record([prompt, reply], feedback=-1.0)
    >>> trainer.update().raised
    2
    >>> trainer.restore()

    Attributes:
        critic: The critic that learns, in eval mode.
        training: Hyperparameters.

    Source: emotional reward model (the project's seed document), phase 3. There, no gradient
    reaches the ERM; the anchors, the replay and the bounds are our own.
    """

    def __init__(
        self,
        critic: EmotionalCritic,
        training: OnlineTraining | None = None,
        *,
        anchors: Iterable[Tensor] = (),
    ) -> None:
        """Take the critic's present weights as its start.

        Args:
            critic: Trained in place, on its device.
            training: Hyperparameters.
            anchors: Contexts in which nothing is to change, hidden states `[T, L, d]` each, such as
                `read_anchors` gives them.

        Raises:
            ValueError: An anchor has another shape.
        """
        self.critic = critic.eval()
        self.training = training or OnlineTraining()
        self._first_erm = copy.deepcopy(critic.erm).requires_grad_(False)
        self._first_danger = copy.deepcopy(critic.fear_module.danger_net).requires_grad_(False)
        learned = [part for name, part in critic.erm.named_parameters() if "tonic" not in name]
        last_layer = critic.fear_module.danger_net[-1]
        self._parts = [BoundedWeights(learned), BoundedWeights(list(last_layer.parameters()))]
        contexts = [self._contexts([states])[0] for states in anchors]
        self._anchors = [
            _Lesson(context=context, felt_first=felt, direction=0)
            for context, felt in zip(contexts, self._felt_first(contexts), strict=True)
        ]
        self._begin()

    def _begin(self) -> None:
        self._rng = np.random.default_rng(self.training.seed)
        self._new: deque[tuple[list[Context], float]] = deque(maxlen=self.training.replay_size)
        self._replay: deque[list[_Lesson]] = deque(maxlen=self.training.replay_size)
        self._optimizer = torch.optim.Adam(
            [parameter for part in self._parts for parameter in part.parameters],
            lr=self.training.learning_rate,
        )

    def record(self, turns: Sequence[Tensor], feedback: float) -> None:
        """Remember how a reply was received, for the next `update`.

        Args:
            turns: Hidden states `[T, L, d]` at the layers `critic.config.layers`, as the critic
                read them: of what the user said, of what was replied, and so on; the last is the
                reply that the feedback is about.
            feedback: Its score in [-1, 1].

        Raises:
            ValueError: A shape is another one, or a number is not finite or out of range.
        """
        if not -1.0 <= feedback <= 1.0:
            raise ValueError(f"feedback must be in [-1, 1], got {feedback}")
        if len(turns) < 2 or len(turns) % 2:
            raise ValueError(
                "turns must be what was said and what was replied, by turns and ending with a "
                f"reply; got {len(turns)}"
            )
        self._new.append((self._contexts(turns)[-2:], feedback))

    def update(self) -> OnlineUpdate:
        """Learn from the replies since the last update, mixed with remembered ones.

        Returns:
            What came of it. Without any context whose fear is to change, no weight does.

        Raises:
            FloatingPointError: The loss is not finite: the weights are as they were before, and
                the new replies are forgotten.
        """
        new = self._judge_new()
        before = [part.copy() for part in self._parts]
        loss = math.nan
        try:
            for batch in self._batches(new):
                loss = self._learn(batch, before)
        except FloatingPointError:
            for part, values in zip(self._parts, before, strict=True):
                part.set(values)
            raise
        self._replay.extend(new)
        directions = [lesson.direction for lessons in new for lesson in lessons]
        return OnlineUpdate(
            raised=directions.count(1),
            lowered=directions.count(-1),
            loss=loss,
            step=max(
                part.distance(values) for part, values in zip(self._parts, before, strict=True)
            ),
            drift=self.drift,
        )

    @property
    def drift(self) -> float:
        """How far the weights are from their start, relative to their norm there."""
        return max(part.distance(part.start) for part in self._parts)

    def restore(self) -> None:
        """Forget everything: the weights are those of the start, bit for bit."""
        for part in self._parts:
            part.set(part.start)
        self._begin()

    def resume(self, learned: EmotionalCritic) -> None:
        """Go on from what a copy of the critic has learned; the start, and anchors, stay.

        Args:
            learned: A critic of the same form.

        Raises:
            RuntimeError: It has another form.
        """
        self.critic.erm.load_state_dict(learned.erm.state_dict())
        self.critic.fear_module.load_state_dict(learned.fear_module.state_dict())
        for part in self._parts:
            part.keep_near(part.start, self.training.max_drift)

    def _contexts(self, turns: Sequence[Tensor]) -> list[Context]:
        return contexts_after(turns, self.critic, self.training.max_positions)

    def _judge_new(self) -> list[list[_Lesson]]:
        """What each new reply teaches; nothing is left out but replies that teach nothing."""
        replies, self._new = list(self._new), deque(maxlen=self.training.replay_size)
        contexts = [context for reply, _ in replies for context in reply]
        if not contexts:
            return []
        first = self._felt_first(contexts)
        afraid = fear_after(contexts, self.critic) > self.training.afraid_from
        judged = []
        for index, (reply, feedback) in enumerate(replies):
            lessons = []
            for place, context in enumerate(reply, 2 * index):
                direction = self._direction(feedback, bool(afraid[place]))
                if direction is not None:
                    felt = first[place]
                    lessons.append(_Lesson(context=context, felt_first=felt, direction=direction))
            if lessons:
                judged.append(lessons)
        return judged

    def _direction(self, feedback: float, afraid: bool) -> int | None:
        """Where fear is to go; None if there is nothing to learn."""
        if feedback < self.training.bad_score:
            return None if afraid else 1
        if feedback > self.training.good_score:
            return -1 if afraid else None
        return 0

    def _batches(self, new: list[list[_Lesson]]) -> Iterable[list[_Lesson]]:
        """Batches in which every new reply is once, filled up with remembered ones."""
        size = self.training.batch_size
        for start in range(0, len(new), size):
            replies = new[start : start + size]
            wanted = min(size - len(replies), len(self._replay))
            drawn = (
                self._rng.choice(len(self._replay), wanted, replace=False).tolist()
                if wanted
                else []
            )
            lessons = [lesson for reply in replies for lesson in reply]
            lessons += [lesson for index in drawn for lesson in self._replay[index]]
            if any(lesson.direction for lesson in lessons):
                yield lessons + self._some_anchors()

    def _some_anchors(self) -> list[_Lesson]:
        wanted = min(self.training.anchors_per_batch, len(self._anchors))
        drawn = (
            self._rng.choice(len(self._anchors), wanted, replace=False).tolist() if wanted else []
        )
        return [self._anchors[index] for index in drawn]

    def _learn(self, batch: list[_Lesson], before: list[Tensor]) -> float:
        """Steps on a batch; the loss of the last one."""
        value = math.nan
        parameters = [parameter for part in self._parts for parameter in part.parameters]
        for _ in range(self.training.updates_per_batch):
            loss = self._loss(batch)
            gradients = torch.autograd.grad(loss, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            norm = nn.utils.clip_grad_norm_(parameters, self.training.max_gradient)
            value = float(loss.detach())
            if not math.isfinite(value) or not bool(torch.isfinite(norm)):
                self._optimizer.zero_grad()
                raise FloatingPointError(
                    f"the loss of learning while acting is {value}; the critic is as it was. Look "
                    "for very large hidden states, or lower OnlineTraining.learning_rate"
                )
            self._optimizer.step()
            self._optimizer.zero_grad()
            for part, values in zip(self._parts, before, strict=True):
                # Both balls hold the weights before, so the second keeps what the first did.
                part.keep_near(values, self.training.max_step)
                part.keep_near(part.start, self.training.max_drift)
        return value

    def _loss(self, batch: list[_Lesson]) -> Tensor:
        training = self.training
        outputs = self._felt([self._thinned(lesson) for lesson in batch])  # [n, O + 1]
        directions = torch.tensor([lesson.direction for lesson in batch])[:, None].to(outputs)
        fears = outputs[:, [FEAR, -1]]  # [n, 2]
        felt = fears.detach().sigmoid()
        up, down = directions > 0, directions < 0
        aims = torch.where(up, training.high_aim, training.low_aim).expand_as(fears)
        # Whichever of the two is there already stays where it is.
        due = (up & (felt < training.high_aim)) | (down & (felt > training.low_aim))
        learned = functional.binary_cross_entropy_with_logits(fears, aims, reduction="none")
        moved = (outputs - torch.stack([lesson.felt_first for lesson in batch])).square()
        others = moved[:, [i for i in range(moved.shape[1] - 1) if i != FEAR]].mean(1)
        held = others + torch.where(directions == 0, moved[:, [FEAR, -1]], 0.0).sum(1)
        replies = (directions != 0).sum().clamp_min(1)
        return (learned * due).sum() / replies + training.anchor_weight * held.mean()

    def _thinned(self, lesson: _Lesson) -> Context:
        """The context of a lesson, without some of its positions if its fear is to be moved."""
        context = lesson.context
        if not lesson.direction:
            return context
        kept = self._rng.random(len(context.states)) >= self.training.position_dropout
        if kept.all() or not kept.any():
            return context
        return Context(states=context.states[torch.from_numpy(kept)], mean=context.mean)

    def _felt(self, contexts: Sequence[Context]) -> Tensor:
        """`[n, O + 1]` what the critic makes of contexts now."""
        return outputs_after(contexts, self.critic.erm, self.critic.fear_module.danger_net)

    @torch.no_grad()
    def _felt_first(self, contexts: Sequence[Context]) -> Tensor:
        """`[n, O + 1]` what it made of them at the start."""
        if not contexts:
            return torch.empty(0)
        return outputs_after(contexts, self._first_erm, self._first_danger)
