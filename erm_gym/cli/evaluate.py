"""`erm-gym evaluate`: asks an agent every held-out prompt once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from erm_gym.cli.command import Command, Outcome, check_writable
from erm_gym.cli.console import load_libraries, print_counts, print_place
from erm_gym.cli.notice import introduce
from erm_gym.cli.progress import ProgressDisplay
from erm_gym.cli.tables import alarm_table, metrics_table
from erm_gym.evaluation import RunError, TrainConfig

if TYPE_CHECKING:
    from erm_gym.agents import Agent
    from erm_gym.evaluation import EpisodeRecord
    from erm_gym.llm import FrozenLLM

BASELINE = "frozen"
"""Whose own range canaries are compared with."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Ask an agent every prompt of a split once, and show how it does."""

    agent: str
    """Folder of a training run; or frozen, random or emotional-frozen, which need none."""
    split: str = "test"
    """Prompts that are asked: train, validation, test or all; test:weapons,drugs for these domains,
    test:-weapons for all but these, test:held-out for the three domains of published figures."""
    episodes: int | None = None
    """Prompts, at most; by default all of the split."""
    seed: int = 0
    """Seed of the agent's choices."""
    show: int = 4
    """Transcripts to show, half of them risky."""
    transcripts: Path | None = None
    """Also write all transcripts to this JSON Lines file."""
    llm: str | None = None
    """Language model of an agent given by name; by default smollm2-135m."""
    critic: str | None = None
    """Critic of an agent given by name: default, none, or that of a folder or hub id."""
    user: str | None = None
    """Who gives the feedback; by default the run's own user, or risk-averse."""
    held_out_user: str | None = None
    """Another user that scores the same replies, or none; by default the run's own, or preference
    (sentiment where the language model is another)."""
    baseline: bool = True
    """Whether the frozen language model is asked, too, so that canaries can ring."""
    prompts: str | None = None
    """What is asked: default, a file or hub:owner/name, with names of columns as in
    file.csv?text=question&risk=harm; by default the run's own prompts."""

    def run(self, console: Console) -> Outcome:
        """Evaluates, then shows metrics and some transcripts."""
        if self.show < 0:
            raise RunError(f"show must be at least 0, got {self.show}")
        load_libraries(console)
        from erm_gym.cli.transcripts import print_exchanges
        from erm_gym.evaluation import ring, summarise, write_records

        if self.transcripts is not None:
            check_writable(self.transcripts)
        config, agent, llm = self._load(console)
        counts: Counter[str] = Counter()
        with ProgressDisplay(console) as display:
            records = self._ask(agent, config, display, counts)
            alarms = None
            if self.baseline and config.agent != BASELINE:
                plain = replace(config, agent=BASELINE, bias_weight=None, critic="none")
                own: Counter[str] = Counter()
                frozen = self._ask(make_untrained(plain), plain, display, own)
                counts.update({f"baseline/{name}": count for name, count in own.items()})
                alarms = [alarm.to_dict() for alarm in ring([records], [frozen])]
        del llm
        metrics = summarise(records)
        title = f"{self.agent}: {self.split} prompts, {config.llm}, user {config.user}"
        console.print(metrics_table(title, metrics))
        if alarms is not None:
            console.print(alarm_table(alarms))
        print_counts(console, counts)
        shown = some_of_each(records, self.show)
        print_exchanges(console, [[(config.agent, record)] for record in shown])
        if self.transcripts is not None:
            write_records(self.transcripts, records)
            print_place(console, "transcripts", self.transcripts)
        asked = {"agent": self.agent, "split": self.split, "seed": self.seed}
        counted = {"user_counts": dict(counts)} if counts else {}
        return Outcome({**asked, "metrics": metrics.to_dict(), "alarms": alarms, **counted})

    def _ask(
        self, agent: Agent, config: TrainConfig, display: ProgressDisplay, counts: Counter[str]
    ) -> list[EpisodeRecord]:
        """The replies of an agent to all prompts."""
        from erm_gym.evaluation import evaluate

        return evaluate(
            agent,
            config.env_options(),
            split=self.split,
            num_envs=config.num_envs,
            seed=self.seed,
            limit=self.episodes,
            held_out_user=config.held_out,
            progress=lambda done, total: display.update(config.agent, done, total, unit="replies"),
            user_counts=counts,
        )

    def _load(self, console: Console) -> tuple[TrainConfig, Agent, FrozenLLM]:
        """The run's configuration with what the flags change, its agent, and its LM."""
        from erm_gym.evaluation import load_run

        changes = _given(user=self.user, held_out_user=self.held_out_user, prompts=self.prompts)
        chosen = _given(llm=self.llm, critic=self.critic)
        if is_folder(self.agent):
            if chosen:
                raise RunError(
                    f"--{next(iter(chosen))} is for agents given by name: the run in {self.agent} "
                    "was trained with its own"
                )
            config, agent = load_run(Path(self.agent))
            config = replace(config, **changes)
            return config, agent, introduce(console, config)
        check_untrained(self.agent)
        config = TrainConfig(agent=self.agent, seed=self.seed, **changes, **chosen)
        llm = introduce(console, config)
        return config, make_untrained(config), llm


def _given(**flags: str | None) -> dict[str, Any]:
    """The flags that were given, by name."""
    return {name: value for name, value in flags.items() if value is not None}


def is_folder(agent: str) -> bool:
    """Whether what was asked for is the folder of a run and not an agent's name."""
    return Path(agent).exists() or Path(agent).name != agent


def check_untrained(name: str) -> None:
    """Raises if an agent has nothing to say before it is trained.

    Raises:
        AgentError: If there is no agent of that name.
        RunError: If it learns.
    """
    from erm_gym.agents.factory import agent_spec

    if agent_spec(name).learns:
        raise RunError(
            f"{name!r} has to be trained before it can be evaluated: run `erm-gym train {name}`, "
            "then evaluate the folder that it names"
        )


def make_untrained(config: TrainConfig) -> Agent:
    """An agent that needs no training, ready to `predict`."""
    import gymnasium as gym

    from erm_gym.agents import make_agent

    envs = gym.make_vec("ErmGym/CandidateGeneration-v0", num_envs=1, **config.env_options())
    try:
        return make_agent(config.agent, envs, seed=config.seed)
    finally:
        envs.close()


def some_of_each(records: Sequence[EpisodeRecord], count: int) -> list[EpisodeRecord]:
    """The first episodes in their order, half of them risky as far as there are enough.

    Args:
        records: Episodes.
        count: How many, at most; >= 0.
    """
    risky = [record for record in records if record.risky][: (count + 1) // 2]
    harmless = [record for record in records if not record.risky][: count // 2]
    return [*risky, *harmless]
