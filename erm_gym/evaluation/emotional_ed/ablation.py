"""The fair comparison of one emotional agent with everything that has the same information.

Each variant first searches its hyperparameters on seeds of its own, with the same number of trials;
then it is trained with the paired seeds and evaluated greedily, without learning, on episodes of
its own. The baseline that the agent must beat is the one that was best in the search.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from erm_gym.agents.emotional_ed import QConfig, QLearner
from erm_gym.agents.emotional_ed.registry import classic_agent
from erm_gym.evaluation.classic_runs import (
    Episodes,
    make_rows,
    number_of_actions,
    number_of_states,
    play,
)
from erm_gym.evaluation.config import RunError, RunInterrupted
from erm_gym.evaluation.emotional_ed.variants import (
    EMOTIONAL,
    LEARNING,
    VARIANTS,
    Parameters,
    Variant,
)
from erm_gym.evaluation.processes import each_result
from erm_gym.evaluation.statistics import cvar, iqm, stratified_bootstrap
from erm_gym.evaluation.storage import read_json, write_json
from erm_gym.evaluation.verdict import judge, paired_improvement

EVALUATION_SEED = 1_000_000
"""Added to the environment's seeds in evaluation."""
SEARCH_SEED = 5_000_000
"""Added to the seeds of the search, so that no seed of the comparison is tuned on."""
RANDOM = "random"
"""Name of the policy that is the low end of the range."""
CURVE_POINTS = 20
FILE = "ablation.json"


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """What is compared, and with how much."""

    agent: str
    """The emotional agent, one of `CLASSIC_AGENTS`."""
    env: str
    """The environment's id."""
    seeds: int = 50
    """Paired seeds, 0, 1, ...; >= 2."""
    episodes: int = 300
    """Episodes of training, >= 1."""
    evaluation_episodes: int = 50
    """Episodes of the greedy evaluation, >= 1."""
    trials: int = 40
    """Hyperparameters that each variant tries, >= 1."""
    search_seeds: int = 5
    """Seeds of each trial, >= 2."""

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            RunError: It names the field, its value and what is allowed.
            AgentError: If there is no agent of that name.
        """
        least = {"seeds": 2, "search_seeds": 2}
        for name in ("seeds", "episodes", "evaluation_episodes", "trials", "search_seeds"):
            if getattr(self, name) < least.get(name, 1):
                raise RunError(
                    f"{name} must be at least {least.get(name, 1)}, got {getattr(self, name)}"
                )
        if not classic_agent(self.agent).channels():
            raise RunError(
                f"{self.agent!r} has no channel that could be switched off; give another agent"
            )


Progress = Callable[[str, int, int], None]
"""Called with a variant's name, the variants done and their number."""


def ablate(
    config: AblationConfig,
    out: Path,
    progress: Progress = lambda name, done, total: None,
    *,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Runs all variants and judges the agent.

    Finished variants are kept in `out/ablation.json`, and a second call goes on from there.

    Args:
        config: What is compared.
        out: Folder of the results.
        progress: Called as variants are done.
        jobs: Processes; by default as many as there are CPU cores, and with 1 this one.

    Returns:
        `config`, `variants` (of each: hyperparameters, scores per seed, intervals, learning curve),
        `random` (scores of a random policy) and `verdict`.

    Raises:
        RunError: If the folder holds another comparison, or the environment is no classic one.
        RunInterrupted: If it was stopped; what was finished is kept.
    """
    path = out / FILE
    results = _stored(path, config)
    names = list(_variants(config))
    waves = (
        [name for name in names if VARIANTS[name].parameters_of is None],
        [name for name in names if VARIANTS[name].parameters_of is not None],
    )
    try:
        for wave in waves:
            missing = [name for name in wave if name not in results["variants"]]
            tasks = [(config, name, results["variants"]) for name in missing]
            for number, result in each_result(_task, tasks, jobs):
                results["variants"][missing[number]] = result
                write_json(path, results)
                progress(missing[number], len(results["variants"]), len(names))
    except KeyboardInterrupt as error:
        raise RunInterrupted(
            f"stopped with {len(results['variants'])} of {len(names)} variants finished, which are "
            f"kept in {path}; give the same command to go on"
        ) from error
    return _judged(path, results)


def run_variant(
    config: AblationConfig, name: str, others: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Searches, trains and evaluates one variant.

    Args:
        config: What is compared.
        name: One of `VARIANTS`.
        others: Results of the variants that are done, for those that take theirs.

    Returns:
        Plain values for JSON.
    """
    began = time.perf_counter()
    variant = VARIANTS[name]
    searched: dict[str, Any] = {}
    if variant.parameters_of is None:
        chosen, tuned = _search(config, variant)
        searched = {"search_score": tuned}
        parameters: Parameters = {
            key: np.full(config.seeds, value) for key, value in chosen.items()
        }
    else:
        source = (others or {})[variant.parameters_of]
        chosen = source["parameters"]
        levels = {f"level {i}": np.array(each) for i, each in enumerate(source["levels"])}
        parameters = {key: np.full(config.seeds, value) for key, value in chosen.items()} | levels
    trained, evaluated, learner = _run(config, variant, parameters, range(config.seeds))
    rng = np.random.default_rng(0)
    scores = evaluated["return"].mean(axis=1)
    returns = trained["return"]
    blocks = np.array_split(returns, min(CURVE_POINTS, returns.shape[1]), axis=1)
    measures = {
        key: float(np.nanmean(values)) for key, values in evaluated.items() if key != "return"
    }
    return {
        "what": variant.what,
        "baseline": variant.baseline,
        "parameters": chosen,
        **searched,
        "levels": learner.mean_levels().tolist(),
        "scores": scores.tolist(),
        "iqm": list(stratified_bootstrap(scores[None], iqm, rng)),
        "cvar": cvar(scores),
        "training_return": float(returns.mean()),
        "curve": [float(block.mean()) for block in blocks],
        "measures": measures,
        "seconds": time.perf_counter() - began,
    }


def _task(task: tuple[AblationConfig, str, Mapping[str, Any]]) -> dict[str, Any]:
    return run_variant(*task)


def _variants(config: AblationConfig) -> dict[str, Variant]:
    """Those that this agent and environment allow."""
    agent = classic_agent(config.agent)
    envs = make_rows(config.env, 1)
    _, infos = envs.reset(seed=0)
    context = infos.get("context", {})
    return {
        name: variant
        for name, variant in VARIANTS.items()
        if (variant.needs is None or variant.needs in context)
        and not (variant.rule and agent.scripted is None)
    }


def _run(
    config: AblationConfig, variant: Variant, parameters: Parameters, seeds: Sequence[int]
) -> tuple[Episodes, Episodes, QLearner]:
    envs = make_rows(config.env, len(seeds))
    agent = classic_agent(config.agent)
    learner = agent.learner(
        seeds,
        number_of_states(envs.single_observation_space),
        number_of_actions(envs.single_action_space),
        QConfig(
            learning_rate=parameters["learning_rate"],
            discount=parameters["discount"],
            epsilon=parameters["epsilon"],
        ),
        variant.build(agent, parameters),
        observed_levels=variant.observed_levels,
    )
    trained = play(envs, learner, config.episodes, seed=list(seeds))
    evaluated = play(
        envs,
        learner,
        config.evaluation_episodes,
        seed=[EVALUATION_SEED + seed for seed in seeds],
        learning=False,
        epsilon=0.0,
    )
    return trained, evaluated, learner


def _search(config: AblationConfig, variant: Variant) -> tuple[dict[str, float], float]:
    """The best hyperparameters and their score: all trials with all their seeds side by side.

    The trials of what all variants search are the same for each of them.
    """
    common, own = np.random.default_rng(0), np.random.default_rng(1)
    drawn = {key: common.choice(values, config.trials) for key, values in LEARNING.items()}
    drawn |= {key: own.choice(values, config.trials) for key, values in variant.search.items()}
    rows = {key: np.repeat(values, config.search_seeds) for key, values in drawn.items()}
    seeds = np.tile(SEARCH_SEED + np.arange(config.search_seeds), config.trials)
    _, evaluated, _ = _run(config, variant, rows, seeds.tolist())
    scores = evaluated["return"].mean(axis=1).reshape(config.trials, config.search_seeds)
    means = scores.mean(axis=1)
    best = int(means.argmax())
    return {key: float(values[best]) for key, values in drawn.items()}, float(means[best])


def _random_scores(config: AblationConfig) -> np.ndarray:
    envs = make_rows(config.env, config.seeds)
    states = number_of_states(envs.single_observation_space)
    learner = QLearner(range(config.seeds), states, number_of_actions(envs.single_action_space))
    found = play(
        envs, learner, config.evaluation_episodes, seed=EVALUATION_SEED, learning=False, epsilon=1.0
    )
    scores: np.ndarray = found["return"].mean(axis=1)
    return scores


def _stored(path: Path, config: AblationConfig) -> dict[str, Any]:
    if not path.exists():
        return {"config": asdict(config), "variants": {}}
    results = read_json(path)
    stored = results.get("config") if isinstance(results, dict) else None
    if stored != asdict(config):
        raise RunError(
            f"{path} holds another comparison, {stored}; give the same options to go on, or "
            "another folder"
        )
    assert isinstance(results, dict)
    return results


def _judged(path: Path, results: dict[str, Any]) -> dict[str, Any]:
    config = AblationConfig(**results["config"])
    variants = results["variants"]
    scores = {name: np.array(found["scores"]) for name, found in variants.items()}
    random = _random_scores(config)
    baselines = [name for name, found in variants.items() if found["baseline"]]
    best = max(baselines, key=lambda name: variants[name]["search_score"])
    low = iqm(random)
    high = max(iqm(values) for values in scores.values())
    results[RANDOM] = random.tolist()
    results["range"] = [low, high]
    if high > low:
        verdict = judge(
            scores, agent=EMOTIONAL, placebo="placebo", baseline=best, low=low, high=high
        )
        results["verdict"] = verdict.to_dict()
    rng = np.random.default_rng(0)
    for name, values in scores.items():
        variants[name]["improvement"] = list(paired_improvement(scores[EMOTIONAL], values, rng))
    write_json(path, results)
    return results
