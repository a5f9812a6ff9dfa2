"""Checks that a native vector environment keeps Gymnasium's contract, rule by rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from erm_gym.envs._rollout import Event, Make, Player, VectorEnvError
from erm_gym.envs._values import difference

__all__ = ["VectorEnvError", "check_vector_env"]

TOLERANCE = 1e-4
"""Absolute and relative difference that a number may have between batches of unlike sizes."""


def check_vector_env(
    make: Make,
    *,
    num_envs: int = 3,
    steps: int = 50,
    seed: int = 0,
    deterministic: bool = False,
) -> None:
    """Checks a vector environment in every autoreset mode that it declares.

    Every row is written down as the episodes that it lived through, in a form that no autoreset
    mode and no batch changes; most rules then say which of these records must be equal. Actions are
    random; where they are discrete and an observation holds `action_mask`, it is obeyed.

    >>> import gymnasium as gym
    >>> def make(num_envs, mode):
    ...     env_id = "erm_gym:ErmGym/CandidateGeneration-v0"
    ...     options = {"llm": "tiny", "max_new_tokens": 3, "autoreset_mode": mode}
    ...     return gym.make_vec(env_id, num_envs=num_envs, **options)
    >>> check_vector_env(make, steps=8)

    Args:
        make: Makes the environment; it must take every mode in `metadata["autoreset_modes"]`, or
            the one in `metadata["autoreset_mode"]` where there is no such list.
        num_envs: Rows of the batch, >= 2.
        steps: Steps of each rollout, enough for some row to end.
        seed: Seed of the rows and of the actions.
        deterministic: Whether nothing is drawn at random, so that seeds make no difference.

    Raises:
        VectorEnvError: If a rule is broken.
        ValueError: If `num_envs` is below 2.
    """
    if num_envs < 2:
        raise ValueError(f"num_envs must be at least 2, got {num_envs}")
    first = None
    for mode in _declared_modes(make):
        check = _Check(make, mode, num_envs, steps, seed)
        check.spaces()
        plain = check.play()
        check.seeding(plain, deterministic)
        check.copies(plain)
        check.closed()
        check.other_rows(plain)
        if mode == AutoresetMode.NEXT_STEP:
            other = check.play(ignored_seed=seed + 1)
            check.same(plain, other, "the step after the end must ignore its action")
        if mode == AutoresetMode.DISABLED:
            check.finished_row_refuses()
            check.reset_masks(plain)
        check.batch_size(plain)
        if first is None:
            first = plain
        check.same(first, plain, "episodes must be the same in every autoreset mode")


class _Check(Player):
    """The rules for one autoreset mode."""

    def spaces(self) -> None:
        env, single = self.make(self.num_envs, self.mode), self.make(1, self.mode)
        self.require(env.num_envs == self.num_envs, f"num_envs must be {self.num_envs}")
        self.require(
            env.metadata.get("autoreset_mode") == self.mode,
            f"metadata['autoreset_mode'] must be {self.mode}, "
            f"got {env.metadata.get('autoreset_mode')!r}",
        )
        for name in ("observation", "action"):
            row_space = getattr(env, f"single_{name}_space")
            batched = batch_space(row_space, self.num_envs)
            self.require(
                getattr(env, f"{name}_space") == batched,
                f"{name}_space must be single_{name}_space batched {self.num_envs} times",
            )
            self.require(
                getattr(single, f"single_{name}_space") == row_space,
                f"single_{name}_space must not depend on the number of rows",
            )
        env.close()
        single.close()

    def seeding(self, plain: list[list[Event]], deterministic: bool) -> None:
        rule = "the same seed must give the same trajectory"
        self.same(plain, self.play(), rule, tolerance=0.0)
        rule = "reset(seed=s) must seed row i with s + i, as the list [s, s + 1, ...] does"
        self.same(plain, self.play(seeds=self.row_seeds()), rule, tolerance=0.0)
        rule = "reset(seed=s) must give the same trajectory in an environment that was used before"
        self.same(plain, self.play(used=True), rule)
        other = self.play(seeds=self.seed + 7919)
        place = difference(plain, other, 0.0)
        both = f"{self.seed} and {self.seed + 7919}"
        self.require(
            deterministic or place is not None,
            f"different seeds must differ somewhere, but {both} gave the same {self.steps} steps",
        )
        self.require(
            not deterministic or place is None,
            f"seeds must make no difference, but {both} do ({place})",
        )

    def copies(self, plain: list[list[Event]]) -> None:
        scribbled = self.play(scribble=True)
        rule = "returned arrays must be copies: writing into them changed the environment"
        self.same(plain, scribbled, rule, tolerance=0.0)

    def other_rows(self, plain: list[list[Event]]) -> None:
        for row in (0, self.num_envs - 1):
            action_seeds = [s if i == row else s + 104729 for i, s in enumerate(self.row_seeds())]
            other = self.play(action_seeds=action_seeds)
            rule = "rows must be independent: the actions of other rows changed"
            self.same([plain[row]], [other[row]], f"{rule} row {row}")

    def batch_size(self, plain: list[list[Event]]) -> None:
        for row in range(self.num_envs):
            alone = self.play(num_envs=1, seeds=self.seed + row)
            rule = "rows must not depend on the number of rows: alone, with seed + row, differs"
            self.same([plain[row]], alone, f"{rule} row {row}")

    def closed(self) -> None:
        env = self.make(self.num_envs, self.mode)
        observations, _ = env.reset(seed=self.seed)
        actions = self.actions(env, observations, self.row_seeds(), [0] * self.num_envs)
        env.close()
        self.refuses(partial(env.step, actions), "a closed environment must refuse step()")
        self.refuses(env.reset, "a closed environment must refuse reset()")

    def finished_row_refuses(self) -> None:
        env = self.make(self.num_envs, self.mode)
        observations, _ = env.reset(seed=self.seed)
        for t in range(self.steps):
            actions = self.actions(env, observations, self.row_seeds(), [t] * self.num_envs)
            observations, _, terminated, truncated, _ = env.step(actions)
            if (terminated | truncated).any():
                actions = self.actions(env, observations, self.row_seeds(), [t] * self.num_envs)
                self.refuses(partial(env.step, actions), "stepping a finished row must be an error")
                break
        env.close()

    def reset_masks(self, plain: list[list[Event]]) -> None:
        env = self.make(self.num_envs, self.mode)
        env.reset(seed=self.seed)
        for bad in (
            np.ones(self.num_envs + 1, bool),
            np.ones(self.num_envs, np.int64),
            np.zeros(self.num_envs, bool),
        ):
            refused = f"reset_mask {bad} of dtype {bad.dtype} must be an error"
            self.refuses(partial(env.reset, options={"reset_mask": bad}), refused)
        env.close()
        interrupted = self.play(reset_row_0_at=1)
        begin = next(n for n, event in enumerate(interrupted[0]) if "again" in event)
        again = [dict(event) for event in interrupted[0][begin:]]
        del again[0]["again"]
        rule = "reset(seed=[s, None, ...], options={'reset_mask': mask}) must"
        self.same(plain[1:], interrupted[1:], f"{rule} leave the rows outside the mask alone")
        self.same([plain[0]], [again], f"{rule} begin row 0 anew from seed s")

    def same(
        self,
        expected: Sequence[list[Event]],
        got: Sequence[list[Event]],
        rule: str,
        tolerance: float = TOLERANCE,
    ) -> None:
        for row, (one, other) in enumerate(zip(expected, got, strict=True)):
            for number, (a, b) in enumerate(zip(one, other, strict=False)):
                place = difference(a, b, tolerance)
                self.require(place is None, f"{rule} (record {row}, event {number}: {place})")

    def refuses(self, call: Callable[[], object], rule: str) -> None:
        try:
            call()
        except Exception:
            return
        raise self.fail(rule)


def _declared_modes(make: Make) -> list[AutoresetMode]:
    """The modes that the environment declares; any mode that it can be made in tells them."""
    problem: Exception | None = None
    for mode in AutoresetMode:
        try:
            env = make(1, mode)
        except Exception as error:  # it may not know this mode; if it knows none, that is raised
            problem = error
            continue
        metadata = env.metadata
        env.close()
        modes = metadata.get("autoreset_modes", [metadata.get("autoreset_mode")])
        if not modes or not all(isinstance(each, AutoresetMode) for each in modes):
            raise VectorEnvError(
                "metadata['autoreset_modes'] must list members of AutoresetMode, or "
                f"metadata['autoreset_mode'] be one; got {modes!r}"
            )
        return list(modes)
    raise VectorEnvError(f"the environment cannot be made in any mode: {problem!r}") from problem
