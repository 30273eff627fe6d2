"""`abcrown-graft STAGE`: the stages of the grafting pipeline, one subcommand each, and all of them as `run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from abcrown_graft import __version__
from abcrown_graft.cli.errors import guarded
from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.flags import Parser, add_flags, values_from
from abcrown_graft.config.load import load_config
from abcrown_graft.config.option import Option
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.errors import ConfigError

DESCRIPTION = """The linearity-grafting pipeline, stage by stage. Every stage reads one YAML file (flags take
precedence over it) and writes one file that the next stage reads; 'run' does all of them."""

GENERAL = ("general.device", "general.seed", "general.root_path", "general.progress", "pipeline.output")
SUBJECT = ("model.", "data.", "specification.")


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        help: one line.
        options: keys, or prefixes of keys, whose flags it takes.
        run: does it, given the configuration and the parsed words; returns the exit code.
        extend: adds arguments of its own to its parser.
        positional: whether the configuration is a positional argument rather than `--config`.
    """

    help: str
    options: tuple[str, ...]
    run: Callable[[Config, argparse.Namespace], int]
    extend: Callable[[Parser], object] | None = None
    positional: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else list(argv)))


def stage_main(stage: str) -> int:
    """The command line of one stage, for the scripts."""
    return main([stage, *sys.argv[1:]])


def _main(argv: list[str]) -> int:
    arguments = build_parser().parse_args(argv)
    if arguments.stage is None:
        raise ConfigError(f"no stage given; choose one of {', '.join(COMMANDS)} (see abcrown-graft --help)")
    command = COMMANDS[arguments.stage]
    if arguments.stage == "report":
        return command.run(load_config(None, values_from(arguments)), arguments)
    file = find_config(arguments.config) if arguments.config else None
    return command.run(load_config(file, values_from(arguments)), arguments)


def build_parser() -> Parser:
    """The parser of `abcrown-graft`."""
    parser = Parser(prog="abcrown-graft", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"abcrown-graft {__version__}")
    stages = parser.add_subparsers(dest="stage", metavar="STAGE")
    for name, command in COMMANDS.items():
        stage = stages.add_parser(name, help=command.help, description=command.help)
        if command.positional:
            stage.add_argument("config", metavar="FILE", help="YAML file, looked up among the installed ones too")
        elif name != "report":
            stage.add_argument("--config", metavar="FILE", help="YAML file, looked up among the installed ones too")
        if command.extend is not None:
            command.extend(stage)
        add_flags(stage, _options(command))
    return parser


def _options(command: Command) -> Iterator[Option]:
    return (option for option in SCHEMA.values() if option.key.startswith(command.options) and not option.passed_on)


class ConsoleReporter:
    """Prints news on stdout and draws bars on stderr."""

    def __init__(self, config: Config) -> None:
        self._progress = config["general.progress"]

    def say(self, line: str) -> None:
        """One line on stdout."""
        print(line, flush=True)

    def bar(self, description: str, total: float) -> AbstractContextManager:
        """A bar, drawn on a terminal."""
        from abcrown_graft.cli.progress import progress_bar

        return progress_bar(description, total, self._progress)


def _train(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.training import train_stage

    print(f"checkpoint: {train_stage(config, ConsoleReporter(config)).resolve()}")
    return 0


def _instability(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.cli.abcrown import unr_lines
    from abcrown_graft.instability.dump import load
    from abcrown_graft.pipeline.scoring import instability_stage

    path = instability_stage(config, ConsoleReporter(config), arguments.grafted)
    print("\n".join([*unr_lines(load(path)), f"instability dump: {path.resolve()}"]))
    return 0


def _significance(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.scoring import significance_stage

    significance_stage(config, ConsoleReporter(config))
    return 0


def _mask(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.scoring import mask_stage

    mask_stage(config, ConsoleReporter(config))
    return 0


def _tune(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.training import tune_stage

    print(f"checkpoint: {tune_stage(config, ConsoleReporter(config)).resolve()}")
    return 0


def _evaluate(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.evaluation import evaluate_stage

    print(f"evaluation: {evaluate_stage(config, ConsoleReporter(config)).resolve()}")
    return 0


def _merge(config: Config, arguments: argparse.Namespace) -> int:
    from functools import reduce

    from abcrown_graft.cli.abcrown import unr_lines
    from abcrown_graft.instability.dump import load, merge

    merged = reduce(merge, [load(path) for path in arguments.dumps])
    target = config.path("instability.dump", must_exist=False)
    if target is None:
        raise ConfigError("instability.dump: not set; give --instability_dump FILE for the merged dump")
    merged.save(target)
    print("\n".join([*unr_lines(merged), f"instability dump: {target.resolve()}"]))
    return 0


def _report(config: Config, arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from abcrown_graft.pipeline.reporting import write_report
    from abcrown_graft.report.table import rich_table

    path = config.path("report.path", must_exist=False)
    outcomes = write_report([Path(folder) for folder in arguments.runs], path)
    Console(width=None if sys.stdout.isatty() else 160).print(rich_table(outcomes))
    if path is not None:
        print(f"report: {path.resolve()}")
    return 0


def _run(config: Config, arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from abcrown_graft.pipeline.artifacts import output_folder
    from abcrown_graft.pipeline.reporting import write_report
    from abcrown_graft.pipeline.run import run_pipeline
    from abcrown_graft.report.table import rich_table

    path = run_pipeline(config, ConsoleReporter(config))
    outcomes = write_report([output_folder(config)], None)
    Console(width=None if sys.stdout.isatty() else 160).print(rich_table(outcomes))
    print(f"report: {path.resolve()}")
    return 0


def _extend_instability(parser: Parser) -> None:
    parser.add_argument(
        "--grafted", action="store_true", help="bound the network of section graft instead of the plain one of model.path"
    )


COMMANDS = {
    "train": Command("robust training (FAT) of the plain network", (*GENERAL, *SUBJECT, "train."), _train),
    "instability": Command(
        "count unstable neurons over a split, without attack or search",
        (*GENERAL, *SUBJECT, "instability.", "solver.", "general.double_fp", "graft."),
        _instability,
        _extend_instability,
    ),
    "merge": Command(
        "merge instability dumps of disjoint images",
        ("instability.dump",),
        _merge,
        lambda parser: parser.add_argument("dumps", nargs="+", metavar="DUMP", help="dumps of one model and settings"),
    ),
    "significance": Command(
        "score every neuron's significance", (*GENERAL, *SUBJECT, "significance."), _significance
    ),
    "mask": Command(
        "choose the neurons to graft",
        (*GENERAL, "model.name", "mask.", "instability.dump", "significance.path"),
        _mask,
    ),
    "tune": Command("graft the plain network and tune it", (*GENERAL, *SUBJECT, "train.", "tune.", "mask.path"), _tune),
    "evaluate": Command("clean and PGD accuracy (SA, RA)", (*GENERAL, *SUBJECT, "graft.", "evaluate."), _evaluate),
    "report": Command(
        "before/after table of finished runs",
        ("report.",),
        _report,
        lambda parser: parser.add_argument("runs", nargs="+", metavar="RUN", help="output folder of a finished run"),
    ),
    "run": Command("all stages, skipping those that are up to date", tuple(f"{s}." for s in (
        "general", "model", "data", "specification", "solver", "bab", "attack", "graft", "instability", "train",
        "significance", "mask", "tune", "evaluate", "pipeline", "report")), _run, positional=True),
}
