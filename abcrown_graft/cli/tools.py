"""`abcrown-graft STAGE`: the stages of the grafting pipeline, one subcommand each, and all of them as `run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from abcrown_graft import __version__
from abcrown_graft.cli.commands import COMMANDS, SeveralCommand, SingleCommand
from abcrown_graft.cli.errors import guarded
from abcrown_graft.config.config import Config
from abcrown_graft.config.experiments import find_config, find_configs
from abcrown_graft.config.flags import Parser, add_flags, values_from
from abcrown_graft.config.load import load_config
from abcrown_graft.config.option import Option
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.errors import ConfigError

DESCRIPTION = """The linearity-grafting pipeline, stage by stage. Every stage reads one YAML file (flags take
precedence over it) and writes one file that the next stage reads; 'run' does all of them."""
FILE_HELP = "YAML file; looked up among the installed experiments too"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else list(argv)))


def stage_main(stage: str) -> int:
    """The command line of one stage, for the scripts."""
    return main([stage, *sys.argv[1:]])


def build_parser() -> Parser:
    """The parser of `abcrown-graft`."""
    parser = Parser(prog="abcrown-graft", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"abcrown-graft {__version__}")
    stages = parser.add_subparsers(dest="stage", metavar="STAGE")
    for name, command in COMMANDS.items():
        _add_arguments(stages.add_parser(name, help=command.help, description=command.help), command)
    return parser


def _main(argv: list[str]) -> int:
    arguments = build_parser().parse_args(argv)
    if arguments.stage is None:
        raise ConfigError(f"no stage given; choose one of {', '.join(COMMANDS)} (see abcrown-graft --help)")
    command, flags = COMMANDS[arguments.stage], values_from(arguments)
    if isinstance(command, SeveralCommand):
        return command.run(_load_all(arguments, flags), arguments)
    file = find_config(arguments.config) if arguments.config else None
    return command.run(load_config(file, flags), arguments)


def _load_all(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> list[Config]:
    """The configurations that are named as words or by `--config`; flags apply to all."""
    names = [*arguments.files, *arguments.config]
    if not names:
        raise ConfigError(f"no configuration: abcrown-graft {arguments.stage} FILE.yaml")
    return [load_config(file, flags) for name in names for file in find_configs(name)]


def _add_arguments(parser: Parser, command: SingleCommand | SeveralCommand) -> None:
    _add_config(parser, command)
    if command.extend is not None:
        command.extend(parser)
    add_flags(parser, _options(command))


def _add_config(parser: Parser, command: SingleCommand | SeveralCommand) -> None:
    if isinstance(command, SeveralCommand):
        words = f"{FILE_HELP}; a folder means all its YAML files"
        parser.add_argument("files", metavar="FILE", nargs="*", help=words)
        parser.add_argument("--config", metavar="FILE", action="append", default=[], help="the same")
    elif command.takes_file:
        parser.add_argument("--config", metavar="FILE", help=FILE_HELP)
    else:
        parser.set_defaults(config=None)


def _options(command: SingleCommand | SeveralCommand) -> Iterator[Option]:
    """Those that a stage reads; what only α,β-CROWN reads is taken where its full key is named."""
    taken = (option for option in SCHEMA.values() if option.key.startswith(command.options))
    return (option for option in taken if not option.passed_on or option.key in command.options)
