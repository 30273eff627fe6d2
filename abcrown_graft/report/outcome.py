"""The figures of one network of a run, read from the files its stages wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from abcrown_graft.errors import FileFormatError
from abcrown_graft.instability.dump import load as load_dump
from abcrown_graft.pipeline.artifacts import read_json
from abcrown_graft.verify.results import read_results
from abcrown_graft.verify.verdict import Verdict

NAMES = ("baseline", "grafted")


@dataclass(frozen=True)
class Outcome:
    """One network's figures; shares in [0, 1].

    Attributes:
        run, name: the folder, and which network of it.
        grafted: share of grafted neurons.
        unr, unr_ungrafted: unstable neuron ratio over all neurons, and over the ungrafted ones; None if no image
            of the population was counted.
        verified: VA, verified / all instances.
        clean, robust: SA and RA on the evaluated images.
        seconds: mean time per instance, attack included.
        undecided: instances without a proof or a counterexample.
        instances, counted, evaluated: numbers of images behind VA and time, behind UNR, and behind SA and RA.
    """

    run: str
    name: str
    grafted: float
    unr: float | None
    unr_ungrafted: float | None
    verified: float
    clean: float
    robust: float
    seconds: float
    undecided: int
    instances: int
    counted: int
    evaluated: int


def read_outcomes(folder: Path) -> list[Outcome]:
    """The outcomes of a run's folder, the plain network first.

    Raises:
        FileFormatError: the folder is missing, is no run's, or a file is damaged or of an unfinished stage.
    """
    if not folder.is_dir():
        raise FileFormatError(f"{folder}: no such folder; give the pipeline.output of a finished run")
    found = [name for name in NAMES if (folder / f"verify_{name}.jsonl").exists()]
    if not found:
        raise FileFormatError(f"{folder}: holds no verify_baseline.jsonl; run 'abcrown-graft run' first")
    return [_read(folder, name) for name in found]


def _read(folder: Path, name: str) -> Outcome:
    results_file = folder / f"verify_{name}.jsonl"
    _, results, complete = read_results(results_file)
    if not complete or not results:
        raise FileFormatError(f"{results_file}: the verification is not finished; run 'abcrown-graft run' again")
    dump = load_dump(folder / f"verify_{name}_instability.safetensors")
    clean, robust, evaluated = _read_evaluation(folder / f"evaluation_{name}.json")
    return Outcome(
        run=folder.resolve().name,
        name=name,
        grafted=dump.grafted_fraction,
        unr=dump.unr() if dump.n else None,
        unr_ungrafted=dump.unr("ungrafted") if dump.n else None,
        verified=sum(r.verdict is Verdict.VERIFIED for r in results) / len(results),
        clean=clean,
        robust=robust,
        seconds=sum(r.seconds for r in results) / len(results),
        undecided=sum(r.verdict not in (Verdict.VERIFIED, Verdict.FALSIFIED) for r in results),
        instances=len(results),
        counted=dump.n,
        evaluated=evaluated,
    )


def _read_evaluation(path: Path) -> tuple[float, float, int]:
    """SA, RA and the number of images."""
    found = read_json(path)
    try:
        return float(found["standard_accuracy"]), float(found["robust_accuracy"]), int(found["images"])
    except (KeyError, TypeError, ValueError):
        raise FileFormatError(f"{path}: not an evaluation; run the stage again") from None
