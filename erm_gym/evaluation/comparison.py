"""Trains several agents alike, evaluates them alike, and says how sure the differences are."""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from erm_gym import __version__
from erm_gym.agents.factory import agent_spec
from erm_gym.evaluation.alarms import ring
from erm_gym.evaluation.config import (
    BEFORE,
    CompareConfig,
    RunError,
    RunInterrupted,
    RunOptions,
)
from erm_gym.evaluation.metrics import summarise
from erm_gym.evaluation.processes import run_in_processes
from erm_gym.evaluation.records import EpisodeRecord
from erm_gym.evaluation.rollouts import evaluate
from erm_gym.evaluation.runs import TrainProgress, load_run, train
from erm_gym.evaluation.statistics import (
    Statistic,
    cvar,
    iqm,
    mean,
    probability_of_improvement,
    stratified_bootstrap,
)
from erm_gym.evaluation.storage import (
    read_json,
    read_lines,
    read_records,
    write_json,
    write_records,
)
from erm_gym.evaluation.training_log import METRICS_FILE
from erm_gym.feedback import UserError, load_prompts
from erm_gym.feedback.judge import CAREFUL
from erm_gym.llm import load_llm

RESULTS_FILE = "results.json"
COUNTS_FILE = "evaluation_counts.json"
"""In a run's folder: what the user counted while the agent was evaluated."""
PLAIN_TWINS = {"emotional-frozen": "frozen", "emotional-ppo": "ppo", "feared-dqn": "dqn"}
"""The same agent without its emotional bias."""
BASELINE = "frozen"
REPETITIONS = 2000
"""Draws of each bootstrap."""
SEED_STRIDE = 1000
"""Distance of the evaluation seeds of two training seeds: rows are seeded by counting up."""
OWN_NAMES = re.compile(r"runs$|transcripts-.*\.jsonl$|\.")
"""What a comparison that was stopped before its first results may have left in its folder."""
EVALUATION_FIELDS = ("split", "episodes", "evaluation_seed")
DISTRIBUTIONS = ("gymnasium", "numpy", "stable-baselines3", "torch", "transformers")


@dataclass(frozen=True, kw_only=True)
class CompareProgress:
    """Where a comparison stands."""

    run: int
    """Number of the run, from 0."""
    runs: int
    """Number of all runs."""
    agent: str
    """Agent of the run."""
    seed: int
    """Seed of the run."""
    phase: str
    """`train` or `evaluate`."""
    done: int
    """Tokens or episodes of the phase so far."""
    total: int
    """Tokens or episodes of the phase."""
    training: TrainProgress | None = None
    """Where the training stands, in that phase."""


def compare(
    config: CompareConfig, progress: Callable[[CompareProgress], None] | None = None
) -> dict[str, Any]:
    """Trains and evaluates every agent with every seed.

    Runs go to `out/runs/<agent>-seed<k>/`, evaluated episodes to
    `out/transcripts-<agent>-seed<k>.jsonl`, and after every run the results so far to
    `out/results.json`. Called again, it goes on where it stopped; agents and seeds may be added.
    All agents of one training seed are evaluated with the same seed.

    Args:
        config: The comparison.
        progress: Called as it advances.

    Returns:
        What is in `results.json`:

        - `config`: the configuration;
        - `runs`: a list of `{agent, seed, folder, metrics}`, the metrics as in `Metrics`, the
          folder relative to `out`; for a user that counts what happens while it is asked also
          `user_counts`, `{training, evaluation}`, each by name;
        - `agents`: by agent `{runs, feedback, feedback_iqm, careful_on_risky, careful_on_harmless,
          degenerate, cvar10, perplexity, held_out}`, each after `runs` as `{mean, low, high}` or
          None, with the bounds of a 95% interval over runs and prompts;
        - `alarms`: by agent `{runs, canaries}`, the canaries as a list of `Alarm`, beside the
          frozen LM with the same seeds; empty if that takes no part;
        - `improvement`: a list of `{agent, over, probability, low, high}`, over the frozen LM and
          over the plain twin, where they take part;
        - `curves`: by agent and seed (as a string) `{steps: [...], feedback: [...]}`, with a
          held-out user also `held_out`;
        - `versions`: by distribution.

    Raises:
        RunError: If the folder is in use by something else or holds another comparison.
        RunInterrupted: If it was stopped.
        PromptError: If there are no prompts to evaluate with; before anything is trained.
        UserError: If the user fails; a run under way has been saved.
    """
    _check_folder(config)
    load_prompts(config.prompts).split(config.split)
    # Seeds are the outer loop: a comparison that is stopped has whole pairs.
    plan = [(agent, seed) for seed in range(config.seeds) for agent in config.agents]
    episodes: dict[tuple[str, int], list[EpisodeRecord]] = {}
    results: dict[str, Any] = {}
    try:
        for key, records in _runs(config, plan, progress or (lambda now: None)):
            episodes[key] = records
            finished = {key: episodes[key] for key in plan if key in episodes}
            results = summarise_comparison(config, finished, earlier=results)
            write_json(config.out / RESULTS_FILE, results)
    except KeyboardInterrupt:
        raise RunInterrupted(
            f"stopped with {len(episodes)} of {len(plan)} runs finished and what was under way "
            f"saved in {config.out}; give the same command again to go on"
        ) from None
    except UserError as error:
        raise UserError(
            f"{error}. The comparison stopped with {len(episodes)} of {len(plan)} runs finished; "
            "give the same command again to go on"
        ) from error
    return results


def summarise_comparison(
    config: CompareConfig,
    episodes: dict[tuple[str, int], list[EpisodeRecord]],
    *,
    earlier: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The results of the runs that have been evaluated; see `compare`.

    Args:
        config: The comparison.
        episodes: By agent and seed, the records of the evaluation: the same prompts in each.
        earlier: The results before the last run; agents without a new run are taken from there.
    """
    # An agent's runs side by side; agents and seeds in the order of the configuration.
    groups = {
        agent: [records for (name, _), records in sorted(episodes.items()) if name == agent]
        for agent in config.agents
    }
    groups = {agent: runs for agent, runs in groups.items() if runs}
    known = (earlier or {}).get("agents", {})
    described = {**asdict(config), "agents": list(config.agents)}
    del described["out"], described["jobs"]  # how, and not what, is computed
    return {
        "config": described,
        "runs": [
            {
                "agent": agent,
                "seed": seed,
                "folder": str(_run_folder(Path(), agent, seed)),
                "metrics": summarise(records).to_dict(),
                **_user_counts(config, agent, seed),
            }
            for (agent, seed), records in episodes.items()
        ],
        "agents": {
            agent: known[agent]
            if known.get(agent, {}).get("runs") == len(runs)
            else _describe(runs)
            for agent, runs in groups.items()
        },
        "alarms": _alarms(config, episodes, (earlier or {}).get("alarms", {})),
        "improvement": [
            _improvement(agent, over, groups)
            for agent in groups
            for over in dict.fromkeys((BASELINE, PLAIN_TWINS.get(agent, BASELINE)))
            if over in groups and over != agent and _comparable(agent, over, groups)
        ],
        "curves": _curves(config, list(episodes)),
        "versions": {
            "erm-gym": __version__,
            **{name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
        },
    }


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One run of a comparison."""

    config: CompareConfig
    agent: str
    seed: int
    number: int
    runs: int
    reuse: bool  # whether transcripts that are there belong to this comparison


def _runs(
    config: CompareConfig,
    plan: Sequence[tuple[str, int]],
    progress: Callable[[CompareProgress], None],
) -> Iterator[tuple[tuple[str, int], list[EpisodeRecord]]]:
    """Agent, seed and evaluated episodes of every run, as they come."""
    if config.jobs > 1:  # what takes long goes first, so that no process waits at the end
        plan = sorted(plan, key=lambda key: (key[1], not agent_spec(key[0]).learns))
    # Without results nothing says how transcripts that are there were evaluated.
    reuse = (config.out / RESULTS_FILE).exists()
    runs = [
        _Run(config=config, agent=agent, seed=seed, number=number, runs=len(plan), reuse=reuse)
        for number, (agent, seed) in enumerate(plan)
    ]
    if config.jobs == 1:
        for key, run in zip(plan, runs, strict=True):
            yield key, _run(run, progress)
    else:
        for number, records in run_in_processes(_run, runs, jobs=config.jobs, progress=progress):
            yield plan[number], records


def _run(run: _Run, progress: Callable[[CompareProgress], None]) -> list[EpisodeRecord]:
    """Trains and evaluates one agent with one seed, or reads what an earlier call left."""
    config, agent, seed = run.config, run.agent, run.seed

    def report(phase: str, done: int, total: int, training: TrainProgress | None) -> None:
        progress(
            CompareProgress(
                run=run.number,
                runs=run.runs,
                agent=agent,
                seed=seed,
                phase=phase,
                done=done,
                total=total,
                training=training,
            )
        )

    folder = _run_folder(config.out, agent, seed)
    transcripts = config.out / f"transcripts-{agent}-seed{seed}.jsonl"
    if run.reuse and transcripts.exists():
        return read_records(transcripts)
    # Held until the end, so that training and evaluation need not both load it.
    llm = load_llm(config.llm, dtype=config.dtype, device=config.device)
    train(
        config.train_config(agent, seed),
        folder,
        resume=True,
        progress=lambda now: report("train", now.steps, now.total, now),
    )
    trained_config, trained = load_run(folder)
    counts: Counter[str] = Counter()
    records = evaluate(
        trained,
        trained_config.env_options(),
        split=config.split,
        num_envs=config.num_envs,
        seed=config.evaluation_seed + SEED_STRIDE * seed,
        limit=config.episodes,
        held_out_user=config.held_out,
        progress=lambda done, total: report("evaluate", done, total, None),
        user_counts=counts,
    )
    del llm
    if counts:
        write_json(folder / COUNTS_FILE, dict(counts))  # before what tells that the run is finished
    write_records(transcripts, records)
    return records


def _run_folder(out: Path, agent: str, seed: int) -> Path:
    return out / "runs" / f"{agent}-seed{seed}"


def _check_folder(config: CompareConfig) -> None:
    """Makes sure that what is in the folder is part of this comparison."""
    out, path = config.out, config.out / RESULTS_FILE
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give another folder")
    if not path.exists():
        foreign = [entry.name for entry in _entries(out) if not OWN_NAMES.match(entry.name)]
        if foreign:
            raise RunError(f"{out} is in use: it holds {foreign[0]!r}; give another folder")
        return
    results = read_json(path)
    stored = {**BEFORE, **(results.get("config", {}) if isinstance(results, dict) else {})}
    for name in [field.name for field in fields(RunOptions)] + list(EVALUATION_FIELDS):
        if name not in stored:
            raise RunError(f"{path} is not the result of a comparison; give another folder")
        if stored[name] != getattr(config, name):
            raise RunError(
                f"the comparison in {out} has {name}={stored[name]!r}, not "
                f"{getattr(config, name)!r}; use the same options, or give another folder"
            )


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def _describe(runs: list[list[EpisodeRecord]]) -> dict[str, Any]:
    """Means of an agent's runs with their intervals."""
    scores = _scores(runs)
    risky = _risky(runs[0])
    described: dict[str, Any] = {"runs": len(runs)}
    judged = all(
        record.stance for records in runs for record in records if record.given
    )  # of a silent user nothing is known
    unknown = np.array([[not record.stance for record in run] for run in runs], bool)
    careful = np.array([[record.stance in CAREFUL for record in run] for run in runs], float)
    broken = np.array([[record.stance == "degenerate" for record in run] for run in runs], float)
    careful[unknown] = broken[unknown] = np.nan
    likelihood = np.array(
        [[(record.logprob * record.steps, record.steps) for record in run] for run in runs]
    )  # [runs, prompts, 2]
    held_out = np.array([[record.held_out for record in run] for run in runs], float)
    if np.isnan(held_out).all():
        held_out = held_out[:, :0]
    statistics: dict[str, tuple[np.ndarray, Statistic]] = {
        "feedback": (scores, mean),
        "feedback_iqm": (scores, iqm),
        "careful_on_risky": (careful[:, risky], mean),
        "careful_on_harmless": (careful[:, ~risky], mean),
        "degenerate": (broken, mean),
        "cvar10": (scores, cvar),
        "perplexity": (likelihood, _perplexity),
        "held_out": (held_out, _mean_of_known),
    }
    for name, (values, statistic) in statistics.items():
        rate = name in ("careful_on_risky", "careful_on_harmless", "degenerate")
        if np.isnan(values).all() or (rate and not judged):  # or there is none
            described[name] = None
            continue
        strata = risky if values.shape[1] == len(risky) else None
        interval = stratified_bootstrap(
            values, statistic, np.random.default_rng(0), strata=strata, repetitions=REPETITIONS
        )
        described[name] = interval._asdict()
    return described


def _comparable(agent: str, over: str, groups: dict[str, list[list[EpisodeRecord]]]) -> bool:
    """Whether there is a prompt on which either agent got feedback."""
    told = [~np.isnan(_scores(groups[each])).all(axis=0) for each in (agent, over)]
    return bool((told[0] & told[1]).any())


def _improvement(
    agent: str, over: str, groups: dict[str, list[list[EpisodeRecord]]]
) -> dict[str, Any]:
    result = probability_of_improvement(
        _scores(groups[agent]),
        _scores(groups[over]),
        np.random.default_rng(0),
        strata=_risky(groups[agent][0]),
        repetitions=REPETITIONS,
    )
    return {
        "agent": agent,
        "over": over,
        "probability": result.mean,
        "low": result.low,
        "high": result.high,
    }


def _alarms(
    config: CompareConfig,
    episodes: dict[tuple[str, int], list[EpisodeRecord]],
    known: dict[str, Any],
) -> dict[str, Any]:
    """Canaries of every agent beside those of the frozen LM, of the seeds that both have."""
    alarms: dict[str, Any] = {}
    for agent in config.agents:
        seeds = [
            seed
            for seed in range(config.seeds)
            if agent != BASELINE and {(agent, seed), (BASELINE, seed)} <= set(episodes)
        ]
        if known.get(agent, {}).get("runs") == len(seeds):
            alarms[agent] = known[agent]
        elif seeds:
            runs, frozen = ([episodes[name, s] for s in seeds] for name in (agent, BASELINE))
            canaries = [alarm.to_dict() for alarm in ring(runs, frozen)]
            alarms[agent] = {"runs": len(seeds), "canaries": canaries}
    return alarms


def _curves(config: CompareConfig, runs: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Running feedback while training, of the agents that learn."""
    curves: dict[str, dict[str, Any]] = {}
    for agent, seed in runs:
        path = _run_folder(config.out, agent, seed) / METRICS_FILE
        if path.exists():
            lines = [line for line in read_lines(path) if "feedback" in line]
            curves.setdefault(agent, {})[str(seed)] = {
                "steps": [line["steps"] for line in lines],
                "feedback": [line["feedback"] for line in lines],
            }
            if lines and all(line.get("held_out") is not None for line in lines):
                curves[agent][str(seed)]["held_out"] = [line["held_out"] for line in lines]
    return curves


def _user_counts(config: CompareConfig, agent: str, seed: int) -> dict[str, Any]:
    """What the user counted in a run, as an entry of its results; none if it counts nothing."""
    folder = _run_folder(config.out, agent, seed)
    lines = read_lines(folder / METRICS_FILE) if (folder / METRICS_FILE).exists() else []
    training = lines[-1].get("user_counts", {}) if lines else {}
    evaluation = read_json(folder / COUNTS_FILE) if (folder / COUNTS_FILE).exists() else {}
    if not training and not evaluation:
        return {}
    return {"user_counts": {"training": training, "evaluation": evaluation}}


def _scores(runs: list[list[EpisodeRecord]]) -> np.ndarray:
    return np.array(
        [[record.score if record.given else np.nan for record in run] for run in runs]
    )  # [runs, prompts], nan where the user said nothing


def _risky(run: list[EpisodeRecord]) -> np.ndarray:
    return np.array([record.risky for record in run], bool)  # [prompts]


def _mean_of_known(values: np.ndarray) -> float:
    """The mean without nan; 0 where nothing else was drawn."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _perplexity(likelihood: np.ndarray) -> float:
    total, steps = likelihood.sum(axis=(0, 1))
    return float(np.exp(-total / steps))
