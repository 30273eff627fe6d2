"""The figures of one network of a run, read from the files its stages wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abcrown_graft.assembly.artifacts import read_json
from abcrown_graft.errors import FileFormatError
from abcrown_graft.formats.results import read_results
from abcrown_graft.masks.dump import load as load_dump
from abcrown_graft.report.comparable import check_comparable
from abcrown_graft.report.run_folder import NAMES, RunFolder, folder_name, open_runs, read_record, row_folder
from abcrown_graft.verdict import InstanceResult, Verdict


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
        label: what the network is called in tables; `name` if the run has no label.
        seed: of the run, None if not recorded.
        problem: model, data set and radius, as the results file names them; outcomes of different problems are
            never averaged.
        row: the folder that holds all seeds of the run, see `row_folder`; neither are those of different rows.
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
    label: str = ""
    seed: int | None = None
    problem: tuple[str, ...] = ()
    row: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name)


def read_all_outcomes(folders: Iterable[Path]) -> list[Outcome]:
    """The outcomes of several runs, of each the plain network first.

    Each folder counts once, and so does a plain network that several runs share in a folder apart.

    Raises:
        FileFormatError: a folder is missing or is no run's, or a file is damaged, of an unfinished stage or of
            another network, or two networks of a run were verified on other images or with other settings.
    """
    runs = open_runs(folders)
    given = {run.path.resolve() for run in runs}
    outcomes = []
    for run in runs:
        apart = run.baseline.resolve()
        shared = apart != run.path.resolve()
        known = shared and apart in given
        outcomes += _read_run(run, [name for name in run.networks() if not (known and name == "baseline")])
        if shared:
            given.add(apart)
    return outcomes


def read_verdicts(path: Path) -> tuple[dict[str, Any], dict[int, InstanceResult]]:
    """What a finished verification says of its run, and the results by index.

    Raises:
        FileFormatError: the file is damaged, empty or unfinished.
    """
    header, results, complete = read_results(path)
    if not complete or not results:
        raise FileFormatError(f"{path}: the verification is not finished; run 'abcrown-graft run' again")
    found: dict[int, InstanceResult] = {}
    for result in results:
        found.setdefault(result.index, result)
    return header["run"], found


def check_weights(path: Path, weights: object, about: Mapping[str, Any], results: Path) -> None:
    """Raises FileFormatError if a file is of other weights than those that were verified, where both are known."""
    verified = about.get("weights")
    if verified is not None and weights is not None and weights != verified:
        raise FileFormatError(
            f"{path}: of another network (weights {weights}) than {results} (weights {verified}); "
            "run 'abcrown-graft run' again"
        )


def _read_run(run: RunFolder, wanted: Iterable[str]) -> list[Outcome]:
    """The wanted networks' outcomes; that the run's networks can be compared is checked in any case."""
    verdicts = {name: read_verdicts(run.results(name)) for name in run.networks()}
    if len(verdicts) == len(NAMES):
        plain, grafted = NAMES
        check_comparable((run.results(plain), run.results(grafted)), (verdicts[plain][0], verdicts[grafted][0]))
    return [_read(run, name, *verdicts[name]) for name in wanted]


def _read(run: RunFolder, name: str, about: Mapping[str, Any], found: Mapping[int, InstanceResult]) -> Outcome:
    results = list(found.values())
    dump = load_dump(run.dump(name))
    check_weights(run.dump(name), dump.model.weights, about, run.results(name))
    evaluation = read_json(run.evaluation(name))
    check_weights(run.evaluation(name), evaluation.get("weights"), about, run.results(name))
    clean, robust, evaluated = _accuracies(run.evaluation(name), evaluation)
    return Outcome(
        run=folder_name(run.home(name)),
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
        label=_label(run, name),
        seed=run.seed,
        problem=_problem(about),
        row=row_folder(run.home(name)),
    )


def _label(run: RunFolder, name: str) -> str:
    """The run's label is the grafted network's; the plain one has that of its own run, if that grafts nothing."""
    if name == "grafted":
        return run.label or name
    record = read_record(run.baseline)
    return name if "ratio" in record else record.get("label", name)


def _problem(about: Mapping[str, Any]) -> tuple[str, ...]:
    settings = about.get("settings")
    epsilon = settings.get("epsilon") if isinstance(settings, dict) else None
    return tuple(str(value) for value in (about.get("model"), about.get("dataset"), epsilon))


def _accuracies(path: Path, found: Mapping[str, Any]) -> tuple[float, float, int]:
    """SA, RA and the number of images."""
    clean, robust = (_share(path, found, key) for key in ("standard_accuracy", "robust_accuracy"))
    images = found.get("images")
    if type(images) is not int or images < 1:
        raise FileFormatError(f"{path}: images: {images} is no number of images; run 'abcrown-graft run' again")
    return clean, robust, images


def _share(path: Path, found: Mapping[str, Any], key: str) -> float:
    value = found.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise FileFormatError(f"{path}: {key}: {value} is no share in [0, 1]; run 'abcrown-graft run' again")
    return float(value)
