"""The subcommands of `abcrown-graft`: what each is called, which flags it takes, and what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from abcrown_graft.assembly.reporter import Reporter
from abcrown_graft.cli.lines import unr_lines
from abcrown_graft.cli.reporter import ConsoleReporter, print_table
from abcrown_graft.config.config import Config
from abcrown_graft.config.flags import Parser
from abcrown_graft.errors import ConfigError
from abcrown_graft.masks.options import MaskSettings

GENERAL = (
    *("general.device", "general.seed", "general.root_path", "general.progress"),
    *("pipeline.output", "pipeline.baseline"),
)
SUBJECT = ("model.", "data.", "specification.")
EVERYTHING = (
    *(*GENERAL, "general.engine", "general.double_fp", "general.save_adv_example"),
    *("general.complete_verifier", "general.enable_incomplete_verification"),
    *("model.", "data.", "specification.", "solver.", "bab.", "attack.", "graft."),
    *("train.", "instability.", "significance.", "mask.", "tune.", "evaluate.", "report.", "pipeline."),
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A subcommand.

    Attributes:
        help: one line.
        options: keys, or prefixes of keys, whose flags it takes.
        extend: adds arguments of its own to its parser.
    """

    help: str
    options: tuple[str, ...]
    extend: Callable[[Parser], object] | None = None


@dataclass(frozen=True, kw_only=True)
class SingleCommand(Command):
    """A subcommand that reads one configuration.

    Attributes:
        run: does the work, given the configuration and the parsed words; returns the exit code.
        takes_file: whether `--config FILE`, which is optional, names a YAML file; else there are only flags.
    """

    run: Callable[[Config, argparse.Namespace], int]
    takes_file: bool = True


@dataclass(frozen=True, kw_only=True)
class SeveralCommand(Command):
    """A subcommand that reads several configurations, the YAML files `FILE...`.

    Attributes:
        run: does the work, given the configurations and the parsed words; returns the exit code.
    """

    run: Callable[[Sequence[Config], argparse.Namespace], int]


def _train(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.training import train_stage

    return _done("checkpoint", _alone(config, "train", train_stage))


def _instability(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.masks.dump import load
    from abcrown_graft.pipeline.scoring import instability_stage

    if arguments.grafted:
        path = instability_stage(config, ConsoleReporter(config), grafted=True)
    else:
        path = _alone(config, "instability", instability_stage)
    print("\n".join(unr_lines(load(path))))
    return _done("instability dump", path)


def _merge(config: Config, arguments: argparse.Namespace) -> int:
    from functools import reduce

    from abcrown_graft.masks.dump import load, merge

    target = config.path("instability.dump", must_exist=False)
    if target is None:
        raise ConfigError("instability.dump: not set; give --instability_dump FILE for the merged dump")
    merged = reduce(merge, [load(path) for path in arguments.dumps])
    merged.save(target)
    print("\n".join(unr_lines(merged)))
    return _done("instability dump", target)


def _significance(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.scoring import significance_stage

    return _done("significance scores", _alone(config, "significance", significance_stage))


def _mask(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.scoring import mask_stage, sweep_stage

    if arguments.compare:
        return _compare(config, arguments)
    if not config.settings(MaskSettings).sweep:
        return _done("mask", _alone(config, "mask", mask_stage))
    for path in sweep_stage(config, ConsoleReporter(config)):
        _done("mask", path)
    return 0


def _compare(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.cli.reporter import print_rich
    from abcrown_graft.pipeline.mask_overlap import compare_masks

    if "mask.sweep" in arguments:
        raise ConfigError("flags --compare and --sweep: the one makes no masks; give one of them")
    for files, table in compare_masks(config, [Path(name) for name in arguments.compare]):
        print(files)
        print_rich(table)
    return 0


def _tune(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.training import tune_stage

    return _done("checkpoint", _alone(config, "tune", tune_stage))


def _evaluate(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.evaluation import evaluate_stage

    return _done("evaluation", evaluate_stage(config, ConsoleReporter(config)))


def _export(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.export import export_stage

    return _done("benchmark", export_stage(config, ConsoleReporter(config)))


def _report(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.pipeline.reporting import write_report

    path = config.path("report.path", must_exist=False)
    print_table(write_report([Path(folder) for folder in arguments.runs], path))
    return _done("report", path) if path is not None else 0


def _run(configs: Sequence[Config], arguments: argparse.Namespace) -> int:
    from abcrown_graft.assembly.artifacts import output_folder
    from abcrown_graft.pipeline.reporting import check_report, write_report
    from abcrown_graft.pipeline.run import run_pipeline
    from abcrown_graft.pipeline.several import run_several, with_seeds

    if len(configs) == 1 and not arguments.seeds:
        path: Path | None = run_pipeline(configs[0], ConsoleReporter(configs[0]))
        outcomes = write_report([output_folder(configs[0])], None)
    else:
        configs, path = _joint_report(configs)
        if path is not None:
            check_report(path)
        runs = with_seeds(configs, arguments.seeds)
        outcomes = write_report(run_several(runs, ConsoleReporter(runs[0])), path)
    print_table(outcomes)
    return _done("report", path) if path is not None else 0


def _joint_report(configs: Sequence[Config]) -> tuple[list[Config], Path | None]:
    """The flag `--report_path` of several runs names the joint report; their own keep their default places."""
    if not configs[0].origin("report.path").startswith("flag "):
        return list(configs), None
    path = configs[0].path("report.path", must_exist=False)
    return [config.replace({"report.path": None}, "several runs") for config in configs], path


def _doctor(config: Config, arguments: argparse.Namespace) -> int:
    from abcrown_graft.cli.doctor import doctor

    return doctor(config)


def _alone(config: Config, name: str, stage: Callable[[Config, Reporter], Path]) -> Path:
    """Runs one stage of the pipeline so that `run` knows of it."""
    from abcrown_graft.pipeline.run import run_alone

    return run_alone(config, name, stage, ConsoleReporter(config))


def _done(what: str, path: Path) -> int:
    """Prints where the result lies; returns the exit code."""
    print(f"{what}: {path.resolve()}")
    return 0


def _take_grafted(parser: Parser) -> None:
    words = "bound the network of section graft instead of the plain one of model.path"
    parser.add_argument("--grafted", action="store_true", help=words)


def _take_dumps(parser: Parser) -> None:
    parser.add_argument("dumps", nargs="+", metavar="DUMP", help="dumps of one model and settings")


def _take_seeds(parser: Parser) -> None:
    words = "run every FILE once for each seed, in sub-folders seed_SEED of pipeline.output and pipeline.baseline"
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="SEED", help=words)


def _take_masks(parser: Parser) -> None:
    words = "make no mask, but print how far these overlap, pair by pair; .pt files need --model"
    parser.add_argument("--compare", nargs="+", metavar="MASK", help=words)


def _take_runs(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output folder of a finished run")


COMMANDS: Mapping[str, SingleCommand | SeveralCommand] = {
    "train": SingleCommand(
        help="robust or certified training of the plain network",
        options=(*GENERAL, *SUBJECT, "train."),
        run=_train,
    ),
    "instability": SingleCommand(
        help="count unstable neurons over a split, without search",
        options=(*GENERAL, *SUBJECT, "instability.", "solver.", "attack.", "general.double_fp", "graft."),
        run=_instability,
        extend=_take_grafted,
    ),
    "merge": SingleCommand(
        help="merge instability dumps of disjoint images",
        options=("instability.dump",),
        run=_merge,
        takes_file=False,
        extend=_take_dumps,
    ),
    "significance": SingleCommand(
        help="score every neuron's significance",
        options=(*GENERAL, *SUBJECT, "significance."),
        run=_significance,
    ),
    "mask": SingleCommand(
        help="choose the neurons to graft",
        options=(
            *(*GENERAL, "model.name", "model.input_shape"),
            *("mask.", "instability.dump", "significance.path", "significance.method"),
        ),
        run=_mask,
        extend=_take_masks,
    ),
    "tune": SingleCommand(
        help="graft the plain network and tune it",
        options=(*GENERAL, *SUBJECT, "train.", "tune.", "mask.path"),
        run=_tune,
    ),
    "evaluate": SingleCommand(
        help="clean and PGD accuracy (SA, RA)",
        options=(*GENERAL, *SUBJECT, "graft.", "evaluate."),
        run=_evaluate,
    ),
    "export": SingleCommand(
        help="the network as ONNX and its properties as VNN-LIB, for other verifiers",
        options=(
            *("general.root_path", "general.progress", "pipeline.output", *SUBJECT),
            *("graft.", "export.", "bab.timeout", "bab.override_timeout"),
        ),
        run=_export,
    ),
    "report": SingleCommand(
        help="table, and with --report_path FILE.html plots, of finished runs",
        options=("report.",),
        run=_report,
        takes_file=False,
        extend=_take_runs,
    ),
    "run": SeveralCommand(
        help="all stages of one or more configurations, skipping those that are up to date",
        options=EVERYTHING,
        run=_run,
        extend=_take_seeds,
    ),
    "doctor": SingleCommand(
        help="show what is installed, and what each missing piece costs",
        options=("general.abcrown_path", "data.data_dir"),
        run=_doctor,
    ),
}
