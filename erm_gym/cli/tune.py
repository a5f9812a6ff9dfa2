"""`erm-gym erm tune`: teach a critic's bias by the feedback of a simulated user."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from erm_gym.cli.command import Command, Outcome, check_writable
from erm_gym.cli.console import load_libraries, print_place
from erm_gym.cli.progress import ProgressDisplay
from erm_gym.cli.tables import metrics_table, words_table


@dataclass(frozen=True, kw_only=True)
class TuneERM(Command):
    """Fine-tune what a critic's emotions make likelier, by what a simulated user says of replies.

    Only the learned bias changes, by policy gradient; the language model, the ERM and the
    FearModule stay. The critic is measured on held-out prompts before and after.
    """

    out: Path = Path("critic")
    """Folder that the critic is saved in."""
    critic: str = "default"
    """Critic to begin with: a folder, a hub id, or the shipped one of the language model."""
    llm: str = "smollm2-135m"
    """Language model: an alias, a folder or a hub id."""
    user: str = "risk-averse"
    """Who gives the feedback: a name, package.module:attribute, an address, or a sum of these."""
    prompts: str = "default"
    """What is asked: default, a file or hub:owner/name; the split train is learned from."""
    split: str = "test"
    """Prompts that it is measured on."""
    dtype: str = "bfloat16"
    """Precision of the language model."""
    device: str = "cpu"
    """Device of the language model."""
    max_new_tokens: int = 20
    """Longest reply, in tokens."""
    tokens: int = 64_000
    """Tokens that are written to learn from."""
    num_envs: int = 32
    """Replies that are written side by side; four of them answer the same prompt."""
    learning_rate: float = 20.0
    """Step size, in nats per unit of gradient."""
    kl_cost: float = 0.02
    """Cost of one nat between the biased language model and itself, over a reply."""
    seed: int = 0
    """Seed of choices and prompts."""

    def run(self, console: Console) -> Outcome:
        """Measures, trains, measures again, and saves."""
        check_writable(self.out / "config.json")
        load_libraries(console)
        from erm_gym.agents.modulator_gradient import PolicyGradientConfig
        from erm_gym.cli.notice import introduce
        from erm_gym.emotion.training.evaluation import without_nan
        from erm_gym.evaluation import TrainConfig, write_json
        from erm_gym.evaluation.bias_tuning import AGENT, tune_bias

        gradient = PolicyGradientConfig(
            tokens=self.tokens, learning_rate=self.learning_rate, kl_cost=self.kl_cost
        )
        config = TrainConfig(
            agent=AGENT,
            seed=self.seed,
            llm=self.llm,
            critic=self.critic,
            user=self.user,
            prompts=self.prompts,
            dtype=self.dtype,
            device=self.device,
            max_new_tokens=self.max_new_tokens,
            num_envs=self.num_envs,
        )
        llm = introduce(console, config)
        with ProgressDisplay(console) as display:
            critic, report = tune_bias(config, gradient, split=self.split, progress=display.update)
        critic.save_pretrained(self.out)
        result = without_nan({"gradient": asdict(gradient), **report.as_dict()})
        write_json(self.out / "tuning.json", result)
        console.print(words_table(critic, llm))
        for name, metrics in (("before", report.before), ("after", report.after)):
            console.print(metrics_table(f"{name}: {self.split} prompts, user {self.user}", metrics))
        print_place(console, "critic", self.out)
        return Outcome(result)
