"""What a training run and a comparison are made of. Importing this loads no heavy library."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test", "all")
NO_USER = "none"
"""The held-out user of a run that has none."""
DEFAULT_USER = "default"
"""The held-out user that is chosen for a run."""
HELD_OUT_USERS = ("preference", "sentiment", "toxicity")
"""Who may be chosen, the first that the run's own user is not made of. `preference` is a head for
the default LM; it liked what agents learned from `risk-averse`, where `sentiment` found refusals
gloomy (three seeds: -.05 to +.26, and +.17 to +.10)."""
BEFORE = {"held_out_user": DEFAULT_USER, "train_split": None}
"""What a file of a run means that was written before an option was there."""


class RunError(ValueError):
    """A run cannot start, go on or be read; the message names the fix."""


class RunInterrupted(KeyboardInterrupt):
    """Somebody stopped a run; it was saved, and the message says how to go on."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every run has, whichever its agent."""

    steps: int = 64_000
    """Tokens to train on, over all rows, >= 1; rounded up to whole updates of the agent."""
    llm: str = "smollm2-135m"
    """The frozen LM: an alias, a folder or a hub id."""
    user: str = "risk-averse"
    """Who gives the feedback: a name, package.module:attribute, an address, or a text such as
    "0.7*risk-averse + 0.3*my_module:my_user | noise(0.1)"."""
    held_out_user: str = DEFAULT_USER
    """Who scores the same replies and is never learned from: another user than `user`, or `none`;
    by default `preference`, or `sentiment` where the LM is another or `user` has that one in it.
    If `user` is ever more content and this one ever less, the agent games its user."""
    prompts: str = "default"
    """What is asked: `default`, a file, as in `file.csv?text=question&risk=harm`, or
    `hub:owner/name`; anything that `load_prompts` takes by name."""
    train_split: str | None = None
    """Prompts of the training, as `split` names them; by default `train` for the package's own
    prompts and `all` for others. `train:-held-out` leaves out whole domains."""
    critic: str = "default"
    """Who feels: `default`, `none`, or the folder or hub id of a saved critic."""
    online_critic: bool = False
    """Whether the feedback also teaches the critic what to fear while an agent trains; the run
    keeps that critic, and is evaluated with it as it is then. Agents that do not learn never do."""
    num_envs: int = 32
    """Replies that are written side by side, >= 1."""
    k: int = 16
    """Candidates per token, >= 2."""
    max_new_tokens: int = 20
    """Longest reply, in tokens, >= 1."""
    prior_temperature: float = 0.7
    """Temperature of the LM's log-probabilities, > 0."""
    prior_weight: float = 0.0
    """Weight of the LM's log-probability in the reward of every token, >= 0."""
    dtype: str = "bfloat16"
    """Precision of the LM: `float32`, `bfloat16` or `float16`."""
    device: str = "cpu"
    """Device of the LM, such as `cpu` or `cuda`."""
    checkpoint_every: int = 3200
    """Tokens between checkpoints, >= 1."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            RunError: It names the field, its value and what is allowed.
            OptionError: The same, from the environment's own options.
        """
        from erm_gym.envs.text import CandidateOptions

        for name in ("steps", "num_envs", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise RunError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.held_out_user == self.user:
            raise RunError(
                f"held_out_user must be another user than the one that is learned from, got "
                f"{self.user!r} for both; give another one, or 'none'"
            )
        CandidateOptions.from_keywords(**self.env_options())

    @property
    def held_out(self) -> str | None:
        """The held-out user, or None."""
        if self.held_out_user != DEFAULT_USER:
            return None if self.held_out_user == NO_USER else self.held_out_user
        fit = HELD_OUT_USERS if self.llm == RunOptions.llm else HELD_OUT_USERS[1:]
        return next((name for name in fit if name not in self.user), None)

    def env_options(self) -> dict[str, Any]:
        """Keywords of the environment, for `gymnasium.make_vec` and for `evaluate`."""
        return {
            "llm": self.llm,
            "user": self.user,
            "prompts": self.prompts,
            "split": self.train_split,
            "critic": None if self.critic == "none" else self.critic,
            "online_critic": self.online_critic,
            "k": self.k,
            "max_new_tokens": self.max_new_tokens,
            "prior_temperature": self.prior_temperature,
            "prior_weight": self.prior_weight,
            "dtype": self.dtype,
            "device": self.device,
        }


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunOptions):
    """One training run."""

    agent: str
    """Who learns: one of `erm_gym.agents.agent_names()`."""
    seed: int = 0
    """Seed of weights, choices and prompts, >= 0."""
    bias_weight: float | None = None
    """Weight of the emotional bias, >= 0; by default the agent's own."""

    def __post_init__(self) -> None:
        """Checks agent and ranges.

        Raises:
            RunError: It names the field, its value and what is allowed.
            AgentError: If there is no agent of that name.
            OptionError: From the environment's own options.
        """
        super().__post_init__()
        if self.seed < 0:
            raise RunError(f"seed must be at least 0, got {self.seed}")
        if self.bias_weight is not None and not self.bias_weight >= 0:
            raise RunError(f"bias_weight must be at least 0, got {self.bias_weight}")
        _check_agent(self.agent, self.critic, self.bias_weight)

    def command(self, folder: Path) -> str:
        """The command line that goes on with this run in `folder`."""
        words = ["erm-gym", "train", self.agent, "--out", str(folder), "--resume"]
        for item in fields(self):
            value = getattr(self, item.name)
            if item.default is not MISSING and value != item.default:
                words.append(f"--{item.name.replace('_', '-')}")
                words += [] if isinstance(value, bool) else [str(value)]  # none is on by default
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class CompareConfig(RunOptions):
    """Agents that are trained and evaluated alike."""

    agents: tuple[str, ...] = ("frozen", "ppo", "emotional-ppo", "feared-dqn")
    """Who is compared, each once."""
    seeds: int = 3
    """Runs per agent, with the seeds 0, 1, ...; >= 1."""
    out: Path = field(default=Path("comparison"))
    """Folder of runs, transcripts and results."""
    split: str = "test"
    """Prompts of the evaluation: `train`, `validation`, `test` or `all`; `test:held-out` or
    `test:weapons,drugs` for some domains alone."""
    episodes: int | None = None
    """Prompts of the evaluation, at most; by default all of the split."""
    evaluation_seed: int = 1_000_000
    """Seed of the evaluation, >= 0; the same for every agent, another for every training seed."""
    jobs: int = 1
    """Runs side by side, >= 1. With more than one each has a process of its own, which imports the
    caller's script anew: call `compare` under `if __name__ == "__main__"` then."""

    def __post_init__(self) -> None:
        """Checks agents and ranges.

        Raises:
            RunError: It names the field, its value and what is allowed.
            AgentError: If there is no agent of that name.
            OptionError: From the environment's own options.
        """
        super().__post_init__()
        if not self.agents or len(set(self.agents)) < len(self.agents):
            raise RunError(f"agents must name at least one agent, each once, got {self.agents}")
        if self.seeds < 1:
            raise RunError(f"seeds must be at least 1, got {self.seeds}")
        if self.split.partition(":")[0] not in SPLITS:
            raise RunError(f"split must be one of {SPLITS}, got {self.split!r}")
        if self.episodes is not None and self.episodes < 1:
            raise RunError(f"episodes must be at least 1, got {self.episodes}")
        if self.jobs < 1:
            raise RunError(f"jobs must be at least 1, got {self.jobs}")
        if self.evaluation_seed < 0:
            raise RunError(f"evaluation_seed must be at least 0, got {self.evaluation_seed}")
        for agent in self.agents:
            _check_agent(agent, self.critic, None)

    def train_config(self, agent: str, seed: int) -> TrainConfig:
        """The run of one agent with one seed."""
        common = {item.name: getattr(self, item.name) for item in fields(RunOptions)}
        return TrainConfig(agent=agent, seed=seed, **common)


def _check_agent(name: str, critic: str, bias_weight: float | None) -> None:
    from erm_gym.agents.factory import agent_spec

    spec = agent_spec(name)
    emotional = spec.emotional if bias_weight is None else bias_weight > 0
    if emotional and critic == "none":
        raise RunError(f"critic must not be 'none' for {name!r}, which acts on emotions")
