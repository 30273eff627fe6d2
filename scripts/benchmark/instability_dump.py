"""Throughput of the instability dump by CROWN bounds against α,β-CROWN, image by image; see docs/benchmarks.md.

    python scripts/benchmark/instability_dump.py --network cifar_cnn_a_adv --work results/dump

Ours: `abcrown-graft instability` on the first test images, the wall time of the whole process, start-up included.
α,β-CROWN: `complete_verifier: skip` and `bound_prop_method: crown` on a sample of correctly classified test images, the
seconds that it reports for them, without its start-up.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from cases import NETWORKS, Case, Limits, Place, abcrown_config, model_flags
from commands import (
    add_common_flags,
    check_options,
    our_command,
    prepare_command,
    their_command,
    their_environment,
)
from processes import ProcessFailed, Usage, check, environment, run
from records import read_lines


@dataclass(frozen=True)
class Throughput:
    """Images, the seconds they took, and what the process took."""

    images: int
    seconds: float
    usage: Usage

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds


def ours(options: argparse.Namespace, case: Case, place: Place) -> Throughput:
    """`abcrown-graft instability` on `options.images` test images, whatever their class."""
    dump = place.folder / "instability.safetensors"
    dump.unlink(missing_ok=True)
    words = ["--instability_dump", str(dump), "--instability_split", "test", "--instability_population", "all"]
    words += ["--instability_end", str(options.images), "--instability_method", "crown"]
    command, log = our_command("tools", ["instability", *model_flags(case, place), *words]), place.folder / "ours.log"
    usage = check(run(command, log, environment(options.threads)), log)
    return Throughput(options.images, usage.wall, usage)


def theirs(options: argparse.Namespace, case: Case, place: Place) -> Throughput:
    """α,β-CROWN on `options.sample` images, one at a time as it always works, up to the first CROWN bounds."""
    log, results, file = (place.folder / f"theirs.{suffix}" for suffix in ("log", "jsonl", "yaml"))
    variables = environment(options.threads)
    check(run(prepare_command(options.sample, place, model_flags(case, place)), log, variables), log)
    config = abcrown_config(case, place, range(options.sample), Limits(360.0, "skip"), batch_size=256)
    config["general"]["complete_verifier"] = "skip"
    config["solver"]["bound_prop_method"] = "crown"
    file.write_text(json.dumps(config), encoding="utf-8")
    results.unlink(missing_ok=True)
    command = their_command(options, file, place, results)
    usage = check(run(command, log, their_environment(options), place.folder), log)
    seconds = [line["seconds"] for line in read_lines(results)]
    return Throughput(len(seconds), sum(seconds), usage)


def report(mine: Throughput, yours: Throughput) -> str:
    """A Markdown table."""
    rows = [("", "images", "s", "images / s", "peak MiB"), ("---",) * 5]
    for name, found in (("ours", mine), ("α,β-CROWN", yours)):
        numbers = (str(found.images), f"{found.seconds:.2f}", f"{found.rate:.2f}", f"{found.usage.peak_mib:.0f}")
        rows.append((name, *numbers))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\nthroughput, ours / α,β-CROWN: {mine.rate / yours.rate:.1f}"


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="cifar_cnn_a_adv")
    parser.add_argument("--images", type=int, default=1000, help="images of our dump")
    parser.add_argument("--sample", type=int, default=20, help="images of α,β-CROWN")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for logs and files")
    add_common_flags(parser)
    options = parser.parse_args()
    check_options(parser, options, ("work", "data_dir", "abcrown_home", "auto_lirpa_home"))
    folder = options.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    case = Case(options.network, NETWORKS[options.network].epsilons[0], 0.0)
    place = Place(folder, options.data_dir, options.models, folder / "mask.safetensors", folder / "instances.npz")
    try:
        print(report(ours(options, case, place), theirs(options, case, place)))
    except ProcessFailed as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
