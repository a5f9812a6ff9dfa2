"""The fearful deep Q-learner of Emotional-ED's experiment 18 as it was, defects included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from erm_gym.agents.emotional_ed.channel import Channel, Emotion
from erm_gym.agents.emotional_ed.deep_q import DeepQConfig, DeepQLearner
from erm_gym.agents.emotional_ed.ensemble import Parameters, forward, of_rows
from erm_gym.agents.emotional_ed.forms import Bonus, Override
from erm_gym.agents.emotional_ed.moments import Situation, Transition
from erm_gym.agents.emotional_ed.replay import Batch

UP = 0
TRAUMA = -10.0
"""The reward below which tonic fear rises."""


class TonicFear(Emotion):
    """Fear of what is near (phasic), and of what has happened (tonic); the greater counts.

    Phasic fear is 1 at a distance of 1 or less, .5 at 2. Every computation adds .5 to the tonic
    fear (at most 1) where the reward is below -10, and then takes a tenth of it away: whoever
    computes it for a remembered step changes what is felt now.

    Args:
        distance: `[S]`, each state's distance from the threat.
    """

    def __init__(self, distance: np.ndarray) -> None:
        self._phasic = np.where(distance <= 1.0, 1.0, np.where(distance <= 2.0, 0.5, 0.0))

    def allocate(self, rows: int, states: int, actions: int) -> None:
        """Makes the arrays."""
        super().allocate(rows, states, actions)
        self.tonic = self.per_row()

    def begin(self, rows: np.ndarray, situation: Situation) -> None:
        """Forgets what has happened."""
        self.tonic[rows] = 0.0
        self.level[rows] = self._phasic[situation.state[rows]]

    def feel(self, transition: Transition) -> None:
        """Computes the fear of the step."""
        every = np.arange(self.rows)
        self.level[:] = self.computed(every, transition.after.state, transition.reward)

    def computed(self, rows: np.ndarray, states: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        """Fear `[R]` of rows `[R]` in states `[R]`, after rewards `[R]`; changes `tonic`."""
        raised = np.minimum(1.0, self.tonic[rows] + 0.5 * (rewards < TRAUMA))
        self.tonic[rows] = 0.9 * raised
        felt: np.ndarray = np.maximum(self._phasic[states], self.tonic[rows])
        return felt


class PublishedFearLearner(DeepQLearner):
    """Deep Q-learning in which fear enters three times: as input, as bonus on *up*, and as weight.

    Fear is an input of the networks. A random move is *up* with the probability of the fear, above
    .5; a greedy one has 5 times the fear added to *up*, above .3. The loss is weighted by
    `1 + fear / 2`. The defects: the fear of a remembered step is that of the state it led to, and
    yet it is the input for both of its states; and computing it changes the tonic fear of the
    present, 64 times an update.

    Args:
        seeds: Seed of each of the B rows.
        distance: `[S]`, each state's distance from the cliff.
        config: Hyperparameters.

    Source: Emotional-ED, experiment 18. The order within a computation (raise, decay, compare), and
    that the first state of an episode is feared for its distance, are our reading.
    """

    extra_inputs = 1

    def __init__(
        self, seeds: Sequence[int], distance: np.ndarray, config: DeepQConfig | None = None
    ) -> None:
        self.fear = TonicFear(distance)
        move = Override(
            _upwards, probability=lambda fear: np.where(fear > 0.5, fear, 0.0), only_explored=True
        )
        channel = Channel(self.fear, (Bonus(_up, size=5.0, threshold=0.3), move))
        self._target_parameters: Parameters = []
        super().__init__(seeds, [len(distance)], 4, config, [channel])

    def _copy_target(self, rows: np.ndarray) -> None:
        if not self._target_parameters:
            self._target_parameters = [parameter.clone() for parameter in self.parameters]
        where = torch.from_numpy(rows)
        for old, new in zip(self._target_parameters, self.parameters, strict=True):
            old[where] = new[where]

    def _best_after(self, after: Situation) -> np.ndarray:
        return self._of_present(self._target_parameters, after.state).max(axis=1)

    def _values(self, state: np.ndarray) -> np.ndarray:
        return self._of_present(self.parameters, state)

    def _of_present(self, parameters: Parameters, states: np.ndarray) -> np.ndarray:
        """Action values `[B, A]` in states `[B]`, with the fear of the present."""
        fear = self.fear.level[:, None]
        with torch.no_grad():
            return self._with_fear(parameters, states[:, None], fear)[:, 0].numpy().astype(float)

    def _with_fear(self, parameters: Parameters, states: np.ndarray, fear: np.ndarray) -> Tensor:
        """Outputs `[R, n, A]` in states `[R, n]` with fears `[R, n]`."""
        extra = torch.from_numpy(fear).float()[:, :, None]
        return forward(parameters, self._columns[torch.from_numpy(states)], extra)

    def _losses(self, leaves: Parameters, rows: np.ndarray, batch: Batch) -> tuple[Tensor, Tensor]:
        steps = range(batch.state.shape[1])
        computed = [self.fear.computed(rows, batch.after[:, k], batch.reward[:, k]) for k in steps]
        fear = np.stack(computed, axis=1)  # [R, n]
        with torch.no_grad():
            target = of_rows(self._target_parameters, rows)
            best = self._with_fear(target, batch.after, fear).amax(dim=2)  # [R, n]
        values = self._with_fear(leaves, batch.state, fear)
        taken = values.gather(2, torch.from_numpy(batch.action)[:, :, None])[:, :, 0]
        errors = self._targets(batch, best) - taken
        return errors.detach(), errors.square() * torch.from_numpy(1.0 + 0.5 * fear).float()


def _up(situation: Situation) -> np.ndarray:
    """1 for *up*, 0 for the others, `[B, 4]`."""
    return np.eye(4)[np.full(len(situation.state), UP)]


def _upwards(situation: Situation, values: np.ndarray) -> np.ndarray:
    """The action *up* in every row."""
    return np.full(len(values), UP)
