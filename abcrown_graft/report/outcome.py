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
        unr, unr_ungrafted: unstable neuron ratio over all neurons, and over the ungrafted ones.
        verified: VA, verified / all instances.
        clean, robust: SA and RA on the evaluated images.
        seconds: mean time per instance, attack included.
        undecided: instances without a proof or a counterexample.
        instances, evaluated: numbers of images behind VA and UNR, and behind SA and RA.
    """

    run: str
    name: str
    grafted: float
    unr: float
    unr_ungrafted: float
    verified: float
    clean: float
    robust: float
    seconds: float
    undecided: int
    instances: int
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
    if not complete:
        raise FileFormatError(f"{results_file}: the verification is not finished; run 'abcrown-graft run' again")
    dump = load_dump(folder / f"verify_{name}_instability.safetensors")
    evaluation = read_json(folder / f"evaluation_{name}.json")
    decided = (Verdict.VERIFIED, Verdict.FALSIFIED)
    try:
        clean, robust = float(evaluation["standard_accuracy"]), float(evaluation["robust_accuracy"])
        evaluated = int(evaluation["images"])
    except (KeyError, TypeError, ValueError):
        raise FileFormatError(f"{folder / f'evaluation_{name}.json'}: not an evaluation; run the stage again") from None
    return Outcome(
        run=folder.name,
        name=name,
        grafted=dump.grafted_fraction,
        unr=dump.unr(),
        unr_ungrafted=dump.unr("ungrafted"),
        verified=sum(r.verdict is Verdict.VERIFIED for r in results) / len(results),
        clean=clean,
        robust=robust,
        seconds=sum(r.seconds for r in results) / len(results),
        undecided=sum(r.verdict not in decided for r in results),
        instances=len(results),
        evaluated=evaluated,
    )
