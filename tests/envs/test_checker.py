"""The checker passes a correct environment, and names the rule that a broken one breaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from erm_gym.envs.checker import VectorEnvError, check_vector_env


class Walk(VectorEnv):
    """Each row walks for 2 to 4 steps over ground that its own generator draws.

    Every method below that begins with one word of the contract can be broken by a subclass.
    """

    metadata: dict[str, Any] = {"autoreset_modes": list(AutoresetMode)}

    def __init__(self, num_envs: int, mode: AutoresetMode) -> None:
        self.num_envs = num_envs
        self.mode = mode
        self.metadata = {**self.metadata, "autoreset_mode": mode}
        self.single_observation_space = spaces.Dict(
            {
                "ground": spaces.Box(-1.0, 1.0, (2,), np.float32),
                "walked": spaces.Box(0, 100, (1,), np.int64),
            }
        )
        self.single_action_space = spaces.Discrete(5)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]
        self.lengths = np.zeros(num_envs, np.int64)
        self.done = np.zeros(num_envs, bool)
        self.ground = np.zeros((num_envs, 2), np.float32)
        self.walked = np.zeros((num_envs, 1), np.int64)

    def seeds(self, seed: Any) -> list[int | None]:
        if isinstance(seed, int):
            return [seed + row for row in range(self.num_envs)]
        return list(seed) if seed is not None else [None] * self.num_envs

    def mask(self, options: dict[str, Any] | None) -> np.ndarray:
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError("bad reset_mask")
        return np.asarray(mask)

    def observe(self) -> dict[str, np.ndarray]:
        return {"ground": self.ground.copy(), "walked": self.walked.copy()}

    def draw(self, row: int) -> np.ndarray:
        return self.rngs[row].uniform(-1.0, 1.0, 2).astype(np.float32)

    def begin(self, rows: np.ndarray, infos: dict[str, Any]) -> None:
        for row in rows:
            self.lengths[row] = self.rngs[row].integers(2, 5)
            self.ground[row] = self.draw(row)
            self._add_info(infos, {"length": int(self.lengths[row])}, row)
        self.walked[rows] = 0
        self.done[rows] = False

    def reward(self, actions: np.ndarray, row: int) -> float:
        return float(actions[row] * self.ground[row, 0])

    def refuse(self) -> None:
        if self.closed:
            raise RuntimeError("closed")
        if self.mode == AutoresetMode.DISABLED and self.done.any():
            raise ValueError("a row has finished")

    def final(self, row: int) -> dict[str, Any]:
        own = {key: value[row].copy() for key, value in self.observe().items()}
        return {"final_obs": own, "final_info": {"fell": True}}

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if self.closed:
            raise RuntimeError("closed")
        mask = self.mask(options)
        for row, value in enumerate(self.seeds(seed)):
            if value is not None and mask[row]:
                self.rngs[row] = np.random.default_rng(value)
        infos: dict[str, Any] = {}
        self.begin(np.flatnonzero(mask), infos)
        return self.observe(), infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self.refuse()
        infos: dict[str, Any] = {}
        resetting = self.done.copy()
        self.begin(np.flatnonzero(resetting), infos)
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, bool)
        for row in np.flatnonzero(~resetting).tolist():
            self.ground[row] = self.draw(row)
            self.walked[row] += actions[row]
            rewards[row] = self.reward(actions, row)
            self.lengths[row] -= 1
            terminated[row] = self.lengths[row] == 0
        ended = np.flatnonzero(terminated)
        if self.mode == AutoresetMode.SAME_STEP:
            for row in ended.tolist():
                self._add_info(infos, self.final(row), row)
            self.begin(ended, infos)
        else:
            for row in ended.tolist():
                self._add_info(infos, {"fell": True}, row)
            self.done = terminated.copy()
        return self.observe(), rewards, terminated, np.zeros(self.num_envs, bool), infos


def test_a_correct_environment_passes() -> None:
    check_vector_env(Walk, steps=12)


class OneMode(Walk):
    metadata: dict[str, Any] = {}


def test_a_mode_list_may_be_missing() -> None:
    check_vector_env(OneMode, steps=12)


class MaskedWalk(Walk):
    """Some ground allows only some steps, and a step elsewhere is an error."""

    def __init__(self, num_envs: int, mode: AutoresetMode) -> None:
        super().__init__(num_envs, mode)
        own = {"action_mask": spaces.MultiBinary(5)}
        own_spaces = {**self.single_observation_space.spaces, **own}  # type: ignore[attr-defined]
        self.single_observation_space = spaces.Dict(own_spaces)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def allowed(self) -> np.ndarray:
        mask = np.ones((self.num_envs, 5), np.int8)
        mask[:, 2:] = self.ground[:, :1] > 0.0
        mask[:, 1] = self.ground[:, 1] > 0.0
        return mask

    def observe(self) -> dict[str, np.ndarray]:
        return {**super().observe(), "action_mask": self.allowed()}

    def step(self, actions: Any) -> Any:
        if not self.allowed()[np.arange(self.num_envs), actions].all():
            raise ValueError("masked")
        return super().step(actions)


def test_actions_obey_the_mask() -> None:
    check_vector_env(MaskedWalk, steps=12)


class MaskOfOtherRows(MaskedWalk):
    def observe(self) -> dict[str, np.ndarray]:
        return {**super().observe(), "action_mask": np.roll(self.allowed(), 1, axis=0)}


class MaskOfNothing(MaskedWalk):
    def observe(self) -> dict[str, np.ndarray]:
        nothing = np.where(self.walked > 3, 0, self.allowed()).astype(np.int8)
        return {**super().observe(), "action_mask": nothing}


class MaskShared(MaskedWalk):
    """The mask of one row depends on where the others are, though all obey it."""

    def allowed(self) -> np.ndarray:
        mask = super().allowed()
        return mask & np.where(mask.min(axis=0).any(), mask.min(axis=0), mask)


class MaskedCoupledRows(MaskedWalk):
    def reward(self, actions: np.ndarray, row: int) -> float:
        return float(np.mean(actions))


class SharedObservations(Walk):
    def observe(self) -> dict[str, np.ndarray]:
        return {"ground": self.ground, "walked": self.walked}


class OneBuffer(Walk):
    """Copies of the state, but always into the same arrays."""

    def observe(self) -> dict[str, np.ndarray]:
        buffer = self.__dict__.setdefault("buffer", super().observe())
        for key, value in super().observe().items():
            buffer[key][:] = value
        return dict(buffer)


class SharedRewards(Walk):
    total = np.zeros(0)

    def reset(self, **kwargs: Any) -> Any:
        self.total = np.zeros(self.num_envs)
        return super().reset(**kwargs)

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        if self.mode != AutoresetMode.NEXT_STEP:
            self.total += rewards
            rewards = self.total
        return observations, rewards, *rest


class FinalObservationOfNextEpisode(Walk):
    def final(self, row: int) -> dict[str, Any]:
        own = {"ground": np.zeros(2, np.float32), "walked": np.zeros(1, np.int64)}
        return {**super().final(row), "final_obs": own}


class FinalObservationMissing(Walk):
    def final(self, row: int) -> dict[str, Any]:
        return {"final_info": {"fell": True}}


class FinalObservationBatched(Walk):
    def final(self, row: int) -> dict[str, Any]:
        return {**super().final(row), "final_obs": self.observe()}


class FinalInfoMissing(Walk):
    def final(self, row: int) -> dict[str, Any]:
        return {"final_obs": super().final(row)["final_obs"]}


class CoupledRows(Walk):
    def reward(self, actions: np.ndarray, row: int) -> float:
        return float(np.mean(actions))


class SharedGenerator(Walk):
    def draw(self, row: int) -> np.ndarray:
        return self.rngs[0].uniform(-1.0, 1.0, 2).astype(np.float32)


class BatchSizeInReward(Walk):
    def reward(self, actions: np.ndarray, row: int) -> float:
        return super().reward(actions, row) / self.num_envs


class MaskIgnored(Walk):
    def mask(self, options: dict[str, Any] | None) -> np.ndarray:
        return super().mask(options) | True


class MaskRedrawsObservations(Walk):
    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        observations, infos = super().reset(seed=seed, options=options)
        if options:
            observations["ground"] *= np.float32(0.5)
        return observations, infos


class MaskForgetsLengths(Walk):
    """The observations of the other rows stay, their hidden state does not."""

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        if options:
            self.lengths[~self.mask(options)] = 1
        return super().reset(seed=seed, options=options)


class MaskIgnoresSeed(Walk):
    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=None if options else seed, options=options)


class MaskUnchecked(Walk):
    def mask(self, options: dict[str, Any] | None) -> np.ndarray:
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs))
        return np.resize(mask, self.num_envs).astype(bool)


class Unseeded(Walk):
    def draw(self, row: int) -> np.ndarray:
        return np.random.default_rng().uniform(-1.0, 1.0, 2).astype(np.float32)


class SeedIgnored(Walk):
    def seeds(self, seed: Any) -> list[int | None]:
        return list(range(self.num_envs)) if seed is not None else [None] * self.num_envs


class SeedsInOtherSteps(Walk):
    def seeds(self, seed: Any) -> list[int | None]:
        if isinstance(seed, int):
            return [seed + 2 * row for row in range(self.num_envs)]
        return super().seeds(seed)


class RemembersItsPast(Walk):
    """Nothing is put back to its beginning but the generators."""

    steps = 0

    def reward(self, actions: np.ndarray, row: int) -> float:
        self.steps += 1
        return super().reward(actions, row) + 0.01 * (self.steps // self.num_envs)


class FinishedRowsStep(Walk):
    def refuse(self) -> None:
        if self.closed:
            raise RuntimeError("closed")


class ClosedSteps(Walk):
    def refuse(self) -> None:
        if self.mode == AutoresetMode.DISABLED and self.done.any():
            raise ValueError("a row has finished")


class ActsWhileResetting(Walk):
    def step(self, actions: Any) -> Any:
        resetting = self.done.copy()
        result = super().step(actions)
        self.lengths[resetting] = 1 + actions[resetting] % 3
        return result


class RewardWhileResetting(Walk):
    def step(self, actions: Any) -> Any:
        resetting = self.done.copy()
        observations, rewards, *rest = super().step(actions)
        return observations, rewards + resetting, *rest


class ResetInfoMissing(Walk):
    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        return *rest, {key: value for key, value in infos.items() if "length" not in key}


class DoubleObservations(Walk):
    def observe(self) -> dict[str, np.ndarray]:
        return {**super().observe(), "ground": self.ground.astype(np.float64)}


class ObservationOutside(Walk):
    def draw(self, row: int) -> np.ndarray:
        return super().draw(row) + 2.0


class RewardsAsList(Walk):
    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards.tolist(), *rest


class EndsAsIntegers(Walk):
    def step(self, actions: Any) -> Any:
        *rest, truncated, infos = super().step(actions)
        return *rest, truncated.astype(np.int64), infos


class InfoWithoutMask(Walk):
    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        return *rest, {**infos, "weather": np.zeros(self.num_envs)}


class InfoOfOtherRows(Walk):
    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        observations, infos = super().reset(seed=seed, options=options)
        return observations, {**infos, "_length": np.ones(self.num_envs, bool)}


class SpaceNotBatched(Walk):
    def __init__(self, num_envs: int, mode: AutoresetMode) -> None:
        super().__init__(num_envs, mode)
        self.action_space = self.single_action_space


class ModeNotTold(Walk):
    def __init__(self, num_envs: int, mode: AutoresetMode) -> None:
        super().__init__(num_envs, mode)
        self.metadata = {**self.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}


class NeverEnds(Walk):
    def begin(self, rows: np.ndarray, infos: dict[str, Any]) -> None:
        super().begin(rows, infos)
        self.lengths[rows] += 1000


class Raises(Walk):
    def reward(self, actions: np.ndarray, row: int) -> float:
        raise IndexError("no such row")


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (SharedObservations, "returned arrays must be copies"),
        (OneBuffer, "returned arrays must be copies"),
        (SharedRewards, "returned arrays must be copies"),
        (FinalObservationOfNextEpisode, "same in every autoreset mode.*observation"),
        (FinalObservationMissing, r"_final_obs'\] must mark the rows that ended"),
        (FinalObservationBatched, "final_obs of row . must be in single_observation_space"),
        (FinalInfoMissing, r"_final_info'\] must mark the rows that ended"),
        (CoupledRows, "rows must be independent"),
        (SharedGenerator, "rows must not depend on the number of rows"),
        (BatchSizeInReward, "rows must not depend on the number of rows.*reward"),
        (MaskIgnored, "reset_mask"),
        (MaskRedrawsObservations, "must leave row . as it is, bit for bit"),
        (MaskForgetsLengths, "leave the rows outside the mask alone"),
        (MaskIgnoresSeed, "begin row 0 anew from seed"),
        (MaskUnchecked, "reset_mask .* must be an error"),
        (Unseeded, "the same seed must give the same trajectory"),
        (SeedIgnored, "different seeds must differ somewhere"),
        (SeedsInOtherSteps, "must seed row i with s"),
        (RemembersItsPast, "in an environment that was used before"),
        (FinishedRowsStep, "stepping a finished row must be an error"),
        (ClosedSteps, r"a closed environment must refuse step\(\)"),
        (ActsWhileResetting, "the step after the end must ignore its action"),
        (RewardWhileResetting, "the step after the end must return reward 0"),
        (ResetInfoMissing, "has the keys"),
        (DoubleObservations, "ground.* dtype float32, got .* float64"),
        (ObservationOutside, "ground.* must be in Box"),
        (RewardsAsList, "rewards must be an array"),
        (EndsAsIntegers, "truncated must be an array of bool"),
        (InfoWithoutMask, "'weather'.* needs a bool mask"),
        (InfoOfOtherRows, "only the rows .* may have it"),
        (SpaceNotBatched, "action_space must be single_action_space batched 3 times"),
        (ModeNotTold, r"metadata\['autoreset_mode'\] must be"),
        (NeverEnds, "no row ended in 12 steps"),
        (Raises, r"step\(\) raised IndexError"),
        (MaskOfOtherRows, r"step\(\) raised ValueError\('masked'\)"),
        (MaskOfNothing, "action_mask'.* of row . must allow one of 5 actions"),
        (MaskShared, "action_mask"),
        (MaskedCoupledRows, "rows must be independent"),
    ],
)
def test_a_broken_environment_fails_with_the_rule(broken: type[Walk], rule: str) -> None:
    with pytest.raises(VectorEnvError, match=f"(?s){rule}"):
        check_vector_env(broken, steps=12)


def test_an_environment_of_no_mode_tells_why() -> None:
    def make(num_envs: int, mode: AutoresetMode) -> VectorEnv:
        raise KeyError("weights are missing")

    with pytest.raises(VectorEnvError, match="weights are missing"):
        check_vector_env(make)


def test_one_row_is_no_batch() -> None:
    with pytest.raises(ValueError, match="num_envs must be at least 2, got 1"):
        check_vector_env(Walk, num_envs=1)
