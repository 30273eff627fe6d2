"""`abcrown --config FILE.yaml [flags]`: verifies the images that a YAML file describes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from abcrown_graft import __version__
from abcrown_graft.cli.errors import FAILED, guarded
from abcrown_graft.config.config import Config
from abcrown_graft.config.engine import check_engine
from abcrown_graft.config.experiments import find_config
from abcrown_graft.config.flags import Parser, add_flags, values_from
from abcrown_graft.config.load import load_config
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from abcrown_graft.pipeline.verification import Verification
    from abcrown_graft.verify.verdict import InstanceResult

DESCRIPTION = """Verifies the robustness of a (grafted) network on the images that a YAML file describes.
Keys, flags and defaults are α,β-CROWN's; flags take precedence over the file, the file over defaults."""


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
        print(config.to_yaml(), end="")
        return 0
    if config.file is None and config["model.name"] is None:
        raise ConfigError("no configuration: give --config FILE.yaml (try --config exp_configs/digits_graft.yaml)")
    if config["general.engine"] == "abcrown":
        where = config.origin("general.engine")
        raise UnsupportedError(f"{where}: general.engine: abcrown is not available in this version; use --engine native")
    check_engine(config, "native")
    return verify(config)


def verify(config: Config) -> int:
    """Runs the native engine, showing verdicts as they come; 1 if an instance failed."""
    from abcrown_graft.pipeline.verification import prepare_verification
    from abcrown_graft.verify.verdict import Verdict

    verification = prepare_verification(config)
    results = _run(verification)
    failed = [r for r in results if r.verdict is Verdict.ERROR]
    for result in failed:
        print(f"error: image {result.index}: {result.reason}", file=sys.stderr)
    return FAILED if failed else 0


def _run(verification: Verification) -> list[InstanceResult]:
    """Runs and prints; the results of all images in order."""
    from abcrown_graft.cli.progress import progress_bar
    from abcrown_graft.verify.summary import summary_lines

    done = verification.results.done
    if verification.results.kept:
        print(f"earlier results kept as {verification.results.kept}")
    if done:
        print(f"resuming: {len(done)} of {len(verification.indices)} images are done")
    found = dict(done)
    with progress_bar("verifying", len(verification.indices), verification.config["general.progress"]) as bar:
        bar.advance(len(done))
        for result in verification.run():
            found[result.index] = result
            bar.print(_line(result))
            bar.advance()
    results = [found[index] for index in verification.indices]
    print("\n".join(summary_lines(results)))
    print("\n".join(_closing_lines(verification)))
    return results


def _line(result: InstanceResult) -> str:
    bound = "" if result.lower_bound is None else f", margin at least {result.lower_bound:.5g}"
    return (
        f"idx: {result.index}, label: {result.label}, predicted: {result.predicted}, "
        f"Result: {result.status} in {result.seconds:.4f} seconds{bound}"
    )


def _closing_lines(verification: Verification) -> list[str]:
    """Instability, engine, and where the results are."""
    lines = []
    recorder = verification.recorder
    if recorder is not None:
        lines += unr_lines(recorder.dump) + [f"instability dump: {recorder.path.resolve()}"]
    if verification.config["general.complete_verifier"] != "skip":
        lines.append("note: this version searches no further than CROWN bounds; undecided images are unknown")
    precision = "float64" if verification.settings.double else "float32"
    lines.append(f"engine: native (abcrown-graft {__version__}, {verification.device}, {precision}, decided in float64)")
    lines.append(f"results file: {verification.results.path.resolve()}")
    return lines


def unr_lines(dump) -> list[str]:  # noqa: ANN001 - importing its type would import torch
    """The unstable neuron ratio under both denominators."""
    if dump.n == 0:
        return ["UNR: no image of the population was counted"]
    return [
        f"UNR: {100 * dump.unr():.2f}% of all neurons, {100 * dump.unr('ungrafted'):.2f}% of the ungrafted ones "
        f"({dump.n} images)"
    ]
