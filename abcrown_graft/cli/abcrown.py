"""`abcrown --config FILE.yaml [flags]`: verifies the images that a YAML file describes, or VNN-LIB properties."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from abcrown_graft import __version__
from abcrown_graft.cli.errors import FAILED, guarded
from abcrown_graft.cli.lines import closing_lines, opening_lines, result_lines, verdict_line
from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.flags import Parser, add_flags, values_from
from abcrown_graft.config.load import load_config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.engines.choose import Choice, choose_engine
from abcrown_graft.errors import ConfigError

if TYPE_CHECKING:
    from abcrown_graft.verdict import InstanceResult
    from abcrown_graft.verify.runner import Run

DESCRIPTION = """Verifies the robustness of a (grafted) network on the images that a YAML file describes, or
properties of ONNX networks that VNN-LIB files describe. Keys, flags and defaults are
α,β-CROWN's; flags take precedence over the file, the file over defaults."""

SUBJECTS = ("model.name", "model.onnx_path", "general.csv_name", "specification.vnnlib_path")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else list(argv)))


def build_parser() -> Parser:
    """The parser of `abcrown`."""
    parser = Parser(prog="abcrown", description=DESCRIPTION)
    parser.add_argument("--config", metavar="FILE", help="YAML file; looked up among the installed experiments too")
    parser.add_argument("--print_config", action="store_true", help="print the effective configuration and exit")
    parser.add_argument("--version", action="version", version=f"abcrown-graft {__version__}")
    add_flags(parser, [option for option in SCHEMA.values() if option.of_engine])
    return parser


def _main(argv: list[str]) -> int:
    arguments = build_parser().parse_args(argv)
    config = load_config(find_config(arguments.config) if arguments.config else None, values_from(arguments))
    if arguments.print_config:
        print(_standing_alone(config).to_yaml(), end="")
        return 0
    if config.file is None and not any(config[key] for key in SUBJECTS):
        raise ConfigError("no configuration: give --config FILE.yaml (try --config exp_configs/digits_graft.yaml)")
    return verify(config, choose_engine(config))


def _standing_alone(config: Config) -> Config:
    """`config` with `$CONFIG_PATH` written out, so that it means the same when it is saved in another folder."""
    if config.file is None:
        return config
    name, folder = "$CONFIG_PATH", str(config.file.resolve().parent)
    paths = {key: value for key, value in config.values.items() if isinstance(value, str) and name in value}
    return config.replace({key: value.replace(name, folder) for key, value in paths.items()})


def verify(config: Config, engine: Choice) -> int:
    """Runs the engine, showing verdicts as they come; 1 if an instance failed."""
    from abcrown_graft.assembly.options import GeneralOptions
    from abcrown_graft.engines.prepare import prepare_run
    from abcrown_graft.verdict import Verdict

    run = prepare_run(config, engine)
    _print([*engine.lines, *opening_lines(run)])
    results = _followed(run, config.settings(GeneralOptions).progress)
    _print([*result_lines(run, results), *closing_lines(run)])
    failed = [r for r in results if r.verdict is Verdict.ERROR]
    for result in failed:
        print(f"error: {run.instances.noun} {result.index}: {result.reason}", file=sys.stderr)
    return FAILED if failed else 0


def _followed(run: Run, progress: bool) -> list[InstanceResult]:
    """Runs, and shows what comes; the results of all instances in order."""
    from abcrown_graft.cli.progress import progress_bar

    with progress_bar("verifying", len(run.indices), progress) as bar:
        bar.advance(len(run.results.done))

        def show(result: InstanceResult) -> None:
            bar.print(verdict_line(result))
            bar.advance()

        return run.all_results(show)


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, flush=True)
