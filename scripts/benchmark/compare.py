"""Compares the native engine with α,β-CROWN on the same instances; see docs/benchmarks.md.

    python scripts/benchmark/compare.py --networks cifar_cnn_a_adv --images 50 --out results/cnna.jsonl
    python scripts/benchmark/compare.py --table results/cnna.jsonl

Exit code: 0 done, 1 the verifiers contradict one another, 2 something is missing or failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from cases import NETWORKS, Case, Limits, Place, abcrown_config, cases, graft_flags, model_flags, our_flags
from commands import (
    add_common_flags,
    check_options,
    our_command,
    prepare_command,
    their_command,
    their_environment,
)
from processes import ProcessFailed, check, environment, run
from records import Records, read_lines
from table import markdown


@dataclass(frozen=True)
class Bench:
    """The comparison: its options, and where its results go."""

    options: argparse.Namespace
    records: Records

    def place(self, case: Case) -> Place:
        """Where the case's inputs lie and its files go."""
        out = self.records.path
        folder = out.with_name(f"{out.stem}.work").resolve() / case.name
        folder.mkdir(parents=True, exist_ok=True)
        mask = folder / f"mask_{self.options.mask_images}.safetensors"
        instances = folder / f"instances_{self.options.images}.npz"
        return Place(folder, self.options.data_dir, self.options.models, mask, instances)

    @property
    def limits(self) -> Limits:
        """What both verifiers are told alike."""
        return Limits(self.options.timeout, self.options.pgd)

    def run(self, place: Place, name: str, command: Sequence[str]) -> None:
        """Runs something that has to work."""
        log = place.folder / f"{name}.log"
        check(run(command, log, environment(self.options.threads)), log)


def prepare(bench: Bench, case: Case, place: Place) -> list[int]:
    """Makes mask and instances unless they are there; the images' numbers in the data set."""
    if case.grafted and not place.mask.exists():
        _make_mask(bench, case, place)
    if not place.instances.exists():
        words = [*model_flags(case, place), *graft_flags(case, place)]
        bench.run(place, "prepare", prepare_command(bench.options.images, place, words))
    return np.load(place.instances, allow_pickle=False)["indices"].tolist()


def _make_mask(bench: Bench, case: Case, place: Place) -> None:
    """The neurons that are unstable (CROWN bounds) on most of the first correctly classified training images."""
    words, images = model_flags(case, place), bench.options.mask_images
    dump = str(place.folder / f"instability_{images}.safetensors")
    counted = ["--instability_dump", dump, "--instability_split", "train", "--instability_end", str(images)]
    bench.run(place, "instability", our_command("tools", ["instability", *words, *counted]))
    chosen = ["--mask_preset", "unstable", "--mask_ratio", repr(case.grafted), "--mask_path", str(place.mask)]
    bench.run(place, "mask", our_command("tools", ["mask", "--instability_dump", dump, *chosen]))


def run_ours(bench: Bench, case: Case, place: Place, indices: list[int], todo: list[int]) -> None:
    """`abcrown` on the images `todo`, as a user runs it."""
    results = place.folder / "ours.jsonl"
    words = our_flags(case, place, todo, bench.limits, results)
    command = our_command("abcrown", [*words, *shlex.split(bench.options.ours_flags)])
    _measure(bench, case, "ours", command, results, environment(bench.options.threads))


def run_theirs(bench: Bench, case: Case, place: Place, indices: list[int], todo: list[int]) -> None:
    """α,β-CROWN on the images `todo`, as it is."""
    options, results, file = bench.options, place.folder / "theirs.jsonl", place.folder / "theirs.yaml"
    positions = [indices.index(image) for image in todo]
    config = abcrown_config(case, place, positions, bench.limits, options.batch_size)
    file.write_text(json.dumps(config, indent=1), encoding="utf-8")
    command = their_command(options, file, place, results)
    _measure(bench, case, "theirs", command, results, their_environment(options))


VERIFIERS: dict[str, Callable[[Bench, Case, Place, list[int], list[int]], None]] = {
    "ours": run_ours,
    "theirs": run_theirs,
}


def _measure(
    bench: Bench, case: Case, verifier: str, command: Sequence[str], results: Path, variables: dict[str, str]
) -> None:
    """Runs a verifier, copying its verdicts to the records as they come, then what the process took.

    Raises:
        ProcessFailed: it decided nothing.
    """
    results.unlink(missing_ok=True)
    before, log = len(bench.records.done(case, verifier)), results.with_suffix(".log")
    usage = run(command, log, variables, results.parent, partial(_collect, bench, case, verifier, results))
    images = len(bench.records.done(case, verifier)) - before
    took = {"images": images, "wall": usage.wall, "cpu": usage.cpu, "peak_mib": usage.peak_mib, "code": usage.code}
    bench.records.add(case, verifier, took)
    if not images:
        check(usage, log)
        raise ProcessFailed(f"no verdicts; see {log}")


def _collect(bench: Bench, case: Case, verifier: str, results: Path) -> None:
    done = bench.records.done(case, verifier)
    for line in read_lines(results):
        if "index" in line and line["index"] not in done:
            found = {name: line[name] for name in ("label", "verdict", "status", "seconds")}
            bench.records.add(case, verifier, {"image": line["index"], **found})


def compare(bench: Bench, case: Case) -> None:
    """Runs both verifiers on what is left to do of a case.

    Where a process dies after some verdicts, the image it died of is `error`, and another one goes on with the rest.

    Raises:
        ProcessFailed: a process failed at once; what others had decided is kept.
    """
    place = bench.place(case)
    indices = prepare(bench, case, place)
    for verifier in bench.options.verifiers:
        while todo := [image for image in indices if image not in bench.records.done(case, verifier)]:
            print(f"{case.name}: {verifier}: {len(todo)} of {len(indices)} images to do", flush=True)
            VERIFIERS[verifier](bench, case, place, indices, todo)
            missing = [image for image in todo if image not in bench.records.done(case, verifier)]
            if missing:
                died = {"image": missing[0], "label": None, "verdict": "error", "status": "died", "seconds": 0.0}
                bench.records.add(case, verifier, died)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, metavar="FILE", help="just print the table of this file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON lines; a run that was interrupted goes on")
    parser.add_argument("--networks", nargs="+", metavar="NAME[:EPSILON]", help=", ".join(NETWORKS))
    parser.add_argument("--grafted", nargs="+", type=float, default=[0.0], help="shares of grafted neurons: 0 0.5")
    parser.add_argument("--images", type=int, default=50, help="first correctly classified test images")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds per image")
    parser.add_argument("--pgd", choices=("skip", "before"), default="skip", help="attack first, in both, or not")
    parser.add_argument("--batch-size", type=int, default=256, help="subproblems at once of α,β-CROWN")
    parser.add_argument("--mask-images", type=int, default=200, help="training images that instability is counted on")
    parser.add_argument("--ours-flags", default="", help="more words for abcrown, in one argument")
    parser.add_argument("--verifiers", nargs="+", choices=tuple(VERIFIERS), default=list(VERIFIERS))
    add_common_flags(parser)
    return parser


def settings(options: argparse.Namespace) -> dict[str, object]:
    """What all records of a file have in common."""
    names = ("images", "timeout", "pgd", "threads", "batch_size", "mask_images", "ours_flags")
    machine = {"machine": platform.machine(), "cores": os.cpu_count()}
    return {name: getattr(options, name) for name in names} | machine


def main() -> int:
    """The command; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception ends the verifier too, see processes.run
    failed = False
    if options.table is None:
        homes = ("abcrown_home", "auto_lirpa_home") if "theirs" in options.verifiers else ()
        check_options(parser, options, ("out", "networks", "data_dir", *homes))
        try:
            chosen = cases(options.networks, options.grafted)
            bench = Bench(options, Records(options.out, settings(options)))
        except ValueError as error:
            parser.error(str(error))
        for case in chosen:
            try:
                compare(bench, case)
            except ProcessFailed as error:
                print(f"{case.name}: {error}", file=sys.stderr)
                failed = True
    text, wrong = markdown(read_lines(options.table or options.out)[1:])
    print(text)
    return 1 if wrong else 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
