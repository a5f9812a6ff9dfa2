"""The `erm-gym` command: reads the command line, runs a command, and tells how it ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from erm_gym.cli.ablate import Ablate
from erm_gym.cli.command import Command, check_writable
from erm_gym.cli.compare import Compare
from erm_gym.cli.console import output_console, print_error, print_place
from erm_gym.cli.demo import Demo
from erm_gym.cli.doctor import Doctor
from erm_gym.cli.erm import EvaluateERM, TrainERM
from erm_gym.cli.evaluate import Evaluate
from erm_gym.cli.feel import Feel
from erm_gym.cli.replay import Replay
from erm_gym.cli.reproduce import Reproduce
from erm_gym.cli.serve import ServeUser
from erm_gym.cli.steer import FitSteering, GenerateSteered, SweepSteering
from erm_gym.cli.train import Train
from erm_gym.cli.tune import TuneERM
from erm_gym.cli.users import ListUsers, NewUser, TryUser
from erm_gym.evaluation import RunError

Commands = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Ablate, tyro.conf.subcommand("ablate")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Replay, tyro.conf.subcommand("replay")]
    | Annotated[
        Annotated[TrainERM, tyro.conf.subcommand("train")]
        | Annotated[TuneERM, tyro.conf.subcommand("tune")]
        | Annotated[EvaluateERM, tyro.conf.subcommand("eval")],
        tyro.conf.subcommand("erm", description="Train, tune and measure emotional critics."),
    ]
    | Annotated[
        Annotated[FitSteering, tyro.conf.subcommand("fit")]
        | Annotated[SweepSteering, tyro.conf.subcommand("sweep")]
        | Annotated[GenerateSteered, tyro.conf.subcommand("generate")],
        tyro.conf.subcommand(
            "steer", description="Steer a language model towards emotions, and measure it."
        ),
    ]
    | Annotated[
        Annotated[ListUsers, tyro.conf.subcommand("list")]
        | Annotated[TryUser, tyro.conf.subcommand("try")]
        | Annotated[NewUser, tyro.conf.subcommand("new")]
        | Annotated[ServeUser, tyro.conf.subcommand("serve")],
        tyro.conf.subcommand(
            "users", description="List, try, begin and serve simulated users.", default=ListUsers()
        ),
    ]
    | Annotated[Feel, tyro.conf.subcommand("feel")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)

DESCRIPTION = (
    "Reinforcement learning on a frozen language model, with an emotional critic at its side.\n"
    "Start with `erm-gym demo`; `erm-gym COMMAND --help` tells more."
)
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that a command line asks for.

    Args:
        arguments: The command line without the program's name; None for the process's own.

    Returns:
        The exit code: 0; 1 if `doctor` found something; 2 for what the user can put right, with
        one line on stderr; 130 if interrupted.

    Raises:
        SystemExit: With 0 after `--help`, with 2 after a command line that cannot be read.
    """
    # Idle threads of torch's OpenMP spin by default; on a machine whose cores are all busy they
    # take them from the threads that work, and everything slows down many times over. Must be set
    # before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # A 135M model's matrices are too small for many threads: on two cores one thread wrote 105
    # tokens per second and two sleeping and waking ones 40.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    # A user of one's own is named by its module, which lies where the command is given.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    command = _parse(arguments)
    try:
        return _run(command)
    except KeyboardInterrupt as interrupt:
        print_error(str(interrupt) or "interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:
        if not isinstance(error, _expected_errors()):
            raise
        print_error(str(error))
        return EXIT_ERROR


def _parse(arguments: Sequence[str] | None) -> Command:
    return tyro.cli(
        Commands,
        prog="erm-gym",
        description=DESCRIPTION,
        args=arguments,
        config=(
            tyro.conf.PositionalRequiredArgs,
            tyro.conf.PositionalMetavarFromFieldName,
            tyro.conf.FlagCreatePairsOff,
            tyro.conf.DisallowNone,
        ),
    )


def _run(command: Command) -> int:
    if command.json is not None:
        check_writable(command.json)
    console = output_console()
    outcome = command.run(console)
    if command.json is not None:
        from erm_gym.evaluation import write_json

        write_json(command.json, outcome.result)
        print_place(console, "result", command.json)
    return outcome.exit_code


def _expected_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is for the user; imported late because their modules load torch."""
    from erm_gym.agents import AgentError
    from erm_gym.emotion import CriticError
    from erm_gym.emotion.training.datasets import DataError
    from erm_gym.emotion.training.supervised import TrainingDiverged
    from erm_gym.envs.text import OptionError, RecordingError
    from erm_gym.feedback import JudgeError, PromptError, UserError
    from erm_gym.llm import LLMError
    from erm_gym.steering import SignalError, SteeringError

    return (
        AgentError,
        CriticError,
        DataError,
        JudgeError,
        LLMError,
        OptionError,
        PromptError,
        RecordingError,
        RunError,
        SignalError,
        SteeringError,
        TrainingDiverged,
        UserError,
    )
