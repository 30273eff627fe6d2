"""`abcrown-graft-vnnlib`: the command line that the VNN-LIB standard 2.0 asks of a solver.

    abcrown-graft-vnnlib verify QUERY --network NAME=FILE --timeout S
    abcrown-graft-vnnlib supports --vnnlib-versions

The verdict is the first line on stdout, a counterexample follows; everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from abcrown_graft import __version__
from abcrown_graft.cli.errors import FAILED, guarded
from abcrown_graft.config.flags import Parser
from abcrown_graft.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from abcrown_graft.engines.native.query import Answer

NAME = "abcrown-graft"
DEFAULT_SECONDS = 360.0  # as `bab.timeout`
DESCRIPTION = "Decides VNN-LIB queries: sat with an assignment, unsat, unknown or timed-out."
WORDS = {"verified": "unsat", "falsified": "sat", "timeout": "timed-out"}
"""The standard's words for verdicts; `unknown` for all others."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 if there is a verdict, 1 if the solver failed, 2 for wrong input."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else list(argv)))


def build_parser() -> Parser:
    """The parser of `abcrown-graft-vnnlib`."""
    parser = Parser(prog="abcrown-graft-vnnlib", description=DESCRIPTION)
    parser.add_argument("--name", action="version", version=NAME, help="print the solver's name and exit")
    parser.add_argument("--version", action="version", version=__version__, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_verify(commands.add_parser("verify", help="decide a query"))
    supports = commands.add_parser("supports", help="say what the solver is capable of")
    chosen = supports.add_mutually_exclusive_group()
    for capability in CAPABILITIES:
        chosen.add_argument(f"--{capability}", dest="capability", action="store_const", const=capability)
        supports.remember(f"--{capability}")
    return parser


def _add_verify(parser: Parser) -> None:
    parser.add_argument("query", metavar="QUERY", help="VNN-LIB 1.0 or 2.0, .vnnlib or .vnnlib.gz")
    parser.add_argument("--network", metavar="NAME=FILE", action="append", help="the ONNX file of a declared network")
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=DEFAULT_SECONDS, help="seconds in all")
    words = "take floating-point types of the query for real ones: proofs hold in real arithmetic"
    parser.add_argument("--as_real", action="store_true", help=words)


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {word!r}")
    return seconds


def _main(argv: list[str]) -> int:
    arguments = build_parser().parse_args(argv)
    if arguments.command is None:
        raise ConfigError("no command given; choose verify or supports (see abcrown-graft-vnnlib --help)")
    if arguments.command == "verify":
        return _verify(arguments)
    if arguments.capability is None:
        raise ConfigError(f"no capability given; choose one of {', '.join(f'--{name}' for name in CAPABILITIES)}")
    print("\n".join(CAPABILITIES[arguments.capability]()))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    name, file = _network(arguments.network or [])
    begin = time.monotonic()
    with _stdout_to_stderr():
        from abcrown_graft.engines.native.query import verify_query

        left = arguments.timeout - (time.monotonic() - begin)
        answer = verify_query(file, arguments.query, left, network_name=name, as_real=arguments.as_real)
    told = f" ({answer.reason})" if answer.reason is not None else ""
    print(f"{NAME} {__version__}: {answer.verdict}{told} in {time.monotonic() - begin:.2f} s", file=sys.stderr)
    if str(answer.verdict) == "error":
        return FAILED
    print("\n".join([WORDS.get(str(answer.verdict), "unknown"), *assignment_lines(answer)]))
    return 0


def _network(words: Sequence[str]) -> tuple[str, str]:
    """Name and file of the one network."""
    if len(words) != 1:
        raise UnsupportedError(f"{len(words)} networks are given, expected one: --network NAME=FILE")
    name, sign, file = words[0].partition("=")
    if not (name and sign and file):
        raise ConfigError(f"flag --network: {words[0]!r} is not NAME=FILE")
    return name, file


def assignment_lines(answer: Answer) -> Iterator[str]:
    """A counterexample as the standard has it: of each tensor a head, then its elements in row-major order."""
    declared = (answer.interface.input, answer.interface.output)
    for tensor, values in zip(declared, (answer.inputs, answer.outputs), strict=True):
        if values is not None:
            yield f"{tensor.name} {tensor.element_type} [{','.join(map(str, tensor.shape))}]"
            yield from (f"{value:.17g}" for value in values.tolist())


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What is printed meanwhile, also by libraries in C, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _opsets() -> list[str]:
    from abcrown_graft.formats.onnx.declarations import OPSETS

    return [str(OPSETS[0]), str(OPSETS[-1])]


def _operators() -> list[str]:
    from abcrown_graft.formats.onnx.operators import OPERATORS

    return list(OPERATORS.names())


def _versions() -> list[str]:
    """2.0 is read by an optional package."""
    return ["1.0", "2.0" if find_spec("vnnlib") is not None else "1.0"]


def _always(*words: str) -> Callable[[], list[str]]:
    return lambda: list(words)


CAPABILITIES: Mapping[str, Callable[[], list[str]]] = {
    "onnx-opset-versions": _opsets,
    "onnx-element-types": _always("real"),
    "onnx-operators": _operators,
    "vnnlib-versions": _versions,
    "hidden-node-theories": _always("NH"),
    "multiple-input-output-theories": _always("SIO"),
    "multiple-network-theories": _always("SNET"),
    "multiple-node-comparison-theories": _always("SNC"),
    "arithmetic-complexity-theories": _always("BND", "OUTC"),
    "optimised-disjunctive-reasoning": _always("false"),
    "serialise-assignments": _always("false"),
}
"""What the standard's `supports` asks for, by its names of theories."""
