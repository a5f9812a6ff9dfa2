"""Training runs in a folder of their own, which can be stopped at any time and go on later.

A folder holds `config.json`, `model.zip` (the last checkpoint, as Stable-Baselines3 saves it),
`metrics.jsonl`, `transcripts.jsonl` and `tensorboard/`; with `online_critic` also `critic/`, what
the critic has learned by then, and with a user that counts what it is asked `user_counts.json`.
A checkpoint is the state after an update.
A resumed run draws new seeds from its own seed and its number of steps: it goes on with other
prompts than it began with, reproducibly, but not as it would have without the stop. The replay
buffer of a Q-learner is not kept; it fills again before learning goes on. Neither is what an online
critic remembers.

Loading a model.zip runs code that is in it, as unpickling does: load only what you trust.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger, configure

from erm_gym.agents import Agent, DQNConfig, load_agent, make_agent
from erm_gym.agents.factory import agent_spec
from erm_gym.agents.prior_dqn import PriorDQN
from erm_gym.emotion import EmotionalCritic
from erm_gym.envs.text import TextVectorEnv
from erm_gym.envs.text.candidate import candidate_generation_vec
from erm_gym.evaluation.config import BEFORE, RunError, RunInterrupted, TrainConfig
from erm_gym.evaluation.recorder import EpisodeRecorder
from erm_gym.evaluation.storage import atomic_path, read_json, write_json
from erm_gym.evaluation.training_log import RunState, TrainingLog, TrainProgress, restore_state
from erm_gym.feedback import UserError

__all__ = [
    "RunError",
    "RunInterrupted",
    "TrainConfig",
    "TrainProgress",
    "TrainResult",
    "load_run",
    "read_config",
    "train",
]

CONFIG_FILE = "config.json"
MODEL_FILE = "model.zip"
CRITIC_FOLDER = "critic"
TENSORBOARD_FOLDER = "tensorboard"


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training run left behind."""

    folder: Path
    """Where it is."""
    steps: int
    """Tokens it was trained on; 0 for an agent that does not learn."""
    episodes: int
    """Replies it wrote while training."""
    feedback: float | None
    """Mean score over the last 128 of them, in [-1, 1]."""
    held_out: float | None
    """The same of the held-out user, if there is one."""
    seconds: float
    """Time spent on it."""
    user_counts: dict[str, int]
    """What the user has counted, such as requests and skipped episodes; empty for most users."""


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    progress: Callable[[TrainProgress], None] | None = None,
) -> TrainResult:
    """Trains an agent, and keeps what happens in a folder.

    Args:
        config: The run.
        folder: Where it goes; made if it is missing.
        resume: Whether to go on with the run that is in the folder, which may be made longer. A
            finished one is left as it is, and where there is none it starts.
        progress: Called after every step of the rows.

    Returns:
        What the run left behind.

    Raises:
        RunError: If the folder is in use, holds another run, or cannot be written.
        RunInterrupted: If the run was stopped; it has been saved.
        UserError: If the user cannot be made, or fails; in the second case the run has been saved.
    """
    _check_folder(config, folder, resume)
    steps = saved_steps(folder) if (folder / MODEL_FILE).exists() else None
    learns = agent_spec(config.agent).learns
    if learns and steps is not None and steps >= config.steps:
        return _result(folder, restore_state(folder, steps))
    envs = EpisodeRecorder(
        candidate_generation_vec(config.num_envs, **config.env_options()), config.held_out
    )
    try:
        write_json(folder / CONFIG_FILE, asdict(config))
        if not learns:
            return _result(folder, RunState())
        state = restore_state(folder, steps or 0)
        if steps is None:
            agent = make_agent(config.agent, envs, config.seed, **_hyperparameters(config))
        else:
            agent = load_agent(config.agent, folder / MODEL_FILE, envs)
        assert isinstance(agent, BaseAlgorithm)
        if steps is not None:
            _reseed(agent, config.seed, steps)
            _resume_critic(envs, folder)
        return _learn(agent, envs, config, folder, state=state, progress=progress)
    finally:
        envs.close()


def load_run(folder: Path) -> tuple[TrainConfig, Agent]:
    """A run's configuration and its agent, ready to `predict`.

    If the critic learned, too, the configuration names the one that came of it, which learns no
    more.

    Args:
        folder: Folder of a run; it need not be finished.

    Raises:
        RunError: If the folder holds no run, or one without a usable model.
        AgentError: If the model does not fit the configuration beside it.
    """
    config = read_config(folder)
    learns = agent_spec(config.agent).learns
    if learns and not (folder / MODEL_FILE).exists():
        raise RunError(f"{folder} has no {MODEL_FILE} yet; go on with {config.command(folder)!r}")
    if learns:
        saved_steps(folder)
        if config.online_critic:
            critic = str(_learned_critic(folder))
            config = replace(config, critic=critic, online_critic=False)
    envs = candidate_generation_vec(1, **config.env_options())
    if learns:
        return config, load_agent(config.agent, folder / MODEL_FILE, envs)
    return config, make_agent(config.agent, envs, config.seed, **_hyperparameters(config))


def read_config(folder: Path) -> TrainConfig:
    """The configuration of a run.

    Raises:
        RunError: If the folder holds no run, or its configuration is damaged.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise RunError(f"{folder} is no folder of a run: it has no {CONFIG_FILE}")
    values = read_json(folder / CONFIG_FILE)
    try:
        return TrainConfig(**{**BEFORE, **values})
    except TypeError as error:
        raise RunError(
            f"{folder / CONFIG_FILE} is not the configuration of a run: {error}"
        ) from error


def saved_steps(folder: Path) -> int:
    """Tokens that the checkpoint of a run was trained on.

    Raises:
        RunError: If the checkpoint is damaged.
    """
    path = folder / MODEL_FILE
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is None:
                return int(json.loads(archive.read("data"))["num_timesteps"])
        reason = f"{damaged} in it does not fit its checksum"
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        reason = str(error)
    raise RunError(
        f"{path} is truncated or damaged ({reason}); restore it from a copy, or delete {folder} "
        "and train again"
    )


def _learn(
    agent: BaseAlgorithm,
    envs: EpisodeRecorder,
    config: TrainConfig,
    folder: Path,
    *,
    state: RunState,
    progress: Callable[[TrainProgress], None] | None,
) -> TrainResult:
    log = TrainingLog(
        folder,
        envs,
        state,
        total=config.steps,
        checkpoint_every=config.checkpoint_every,
        save=lambda: _save(agent, envs, folder),
        progress=progress,
    )
    logger: Logger | None = None
    try:
        logger = configure(str(folder / TENSORBOARD_FOLDER), ["tensorboard"])
        agent.set_logger(logger)
        agent.learn(config.steps - state.steps, callback=log, reset_num_timesteps=state.steps == 0)
        _save(agent, envs, folder)
        log.write_metrics()
    except (KeyboardInterrupt, UserError) as stop:
        # Steps since the last update have not been learnt from: they are taken again.
        agent.num_timesteps = log.boundary
        _save(agent, envs, folder)
        log.write_counts()
        saved = (
            f"stopped and saved at {log.boundary} of {config.steps} tokens; go on with: "
            f"{config.command(folder)}"
        )
        if isinstance(stop, UserError):
            raise UserError(f"{stop}; {saved}") from stop
        raise RunInterrupted(saved) from None
    except OSError as error:
        raise RunError(
            f"cannot write to {folder}: {error.strerror or error}; the last checkpoint is still "
            f"there. Free some space, then: {config.command(folder)}"
        ) from error
    finally:
        if logger is not None:
            logger.close()
    return _result(folder, state)


def _save(agent: BaseAlgorithm, envs: EpisodeRecorder, folder: Path) -> None:
    path = folder / MODEL_FILE
    try:
        _save_critic(envs, folder / CRITIC_FOLDER)  # first: a checkpoint has its critic
        with atomic_path(path) as temporary:
            agent.save(temporary)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        earlier = "; the earlier checkpoint is still there" if path.exists() else ""
        raise RunError(f"cannot save {path}: {error}{earlier}. Free some space") from error


def _save_critic(envs: EpisodeRecorder, folder: Path) -> None:
    """Saves what an online critic has learned; its files replace the earlier ones one by one."""
    env = envs.unwrapped
    assert isinstance(env, TextVectorEnv)
    if env.critic is None or env.online is None:
        return
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        env.critic.save_pretrained(temporary)
        for path in Path(temporary).iterdir():
            os.replace(path, folder / path.name)


def _resume_critic(envs: EpisodeRecorder, folder: Path) -> None:
    """Lets an online critic go on from what it has learned."""
    env = envs.unwrapped
    assert isinstance(env, TextVectorEnv)
    if env.online is not None:
        learned = EmotionalCritic.from_pretrained(_learned_critic(folder), llm=env.llm)
        env.online.resume(learned)


def _learned_critic(folder: Path) -> Path:
    if not (folder / CRITIC_FOLDER).is_dir():
        raise RunError(
            f"{folder} has no {CRITIC_FOLDER}, though its critic learned; restore it from a copy, "
            f"or delete {folder} and train again"
        )
    return folder / CRITIC_FOLDER


def _reseed(agent: BaseAlgorithm, seed: int, steps: int) -> None:
    """Gives a loaded agent seeds of its own, and a Q-learner time to fill its replay buffer."""
    fresh = int(np.random.SeedSequence([seed, steps]).generate_state(1)[0])
    agent.set_random_seed(fresh // 2)  # below 2**31, for seeds of rows that count up from it
    if isinstance(agent, PriorDQN):
        agent.learning_starts = steps + DQNConfig().learning_starts


def _check_folder(config: TrainConfig, folder: Path, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; give another folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not resume:
        raise RunError(
            f"{folder} is not empty; go on with the run in it by --resume, or give another folder"
        )
    stored, wanted = asdict(read_config(folder)), asdict(config)
    if wanted["steps"] > stored["steps"]:
        del wanted["steps"]  # a run may be made longer
    for name, value in wanted.items():
        if stored[name] != value:
            raise RunError(
                f"the run in {folder} has {name}={stored[name]!r}, not {value!r}; resume it with "
                "the same options, or give another folder"
            )


def _hyperparameters(config: TrainConfig) -> dict[str, Any]:
    return {} if config.bias_weight is None else {"bias_weight": config.bias_weight}


def _result(folder: Path, state: RunState) -> TrainResult:
    return TrainResult(
        folder=folder,
        steps=state.steps,
        episodes=state.episodes,
        feedback=state.feedback,
        held_out=state.held_out,
        seconds=state.seconds,
        user_counts=state.user_counts,
    )
