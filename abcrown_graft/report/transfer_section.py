"""The share of adversarial examples that fool the other network too."""

from __future__ import annotations

from pathlib import Path

from abcrown_graft.assembly import inputs
from abcrown_graft.assembly.artifacts import counterexample_path
from abcrown_graft.assembly.baseline import baseline_config, grafted_config
from abcrown_graft.config.config import Config
from abcrown_graft.errors import AbcrownGraftError, FileFormatError
from abcrown_graft.formats.counterexample import counterexample_path as file_of_image
from abcrown_graft.formats.results import read_results
from abcrown_graft.models.load import LoadedModel
from abcrown_graft.report.outcome import check_weights, read_verdicts
from abcrown_graft.report.run_folder import NAMES, RunFolder
from abcrown_graft.report.section import Section, TableOf
from abcrown_graft.report.transfer import Transfer, attacked_images, read_counterexamples, transfer
from abcrown_graft.report.transitions import Paired, read_pair
from abcrown_graft.verdict import InstanceResult

TITLE = "Adversarial examples that transfer"
DIRECTIONS = (("baseline", "grafted"), ("grafted", "baseline"))
TEXT = (
    "Counterexamples found against one network, tried on the other; the share is of those whose clean image the other "
    "network classifies correctly."
)


def transfer_section(run: RunFolder) -> Section:
    """Both directions; where files are missing, which."""
    pair, settings = read_pair(run), run.settings()
    if not any(attacked_images(results) for results in (pair.baseline, pair.grafted)):
        return Section(TITLE, ("No correctly classified image was attacked with success.",))
    if settings is None:
        return Section(TITLE, ("Not computed: tune.config.yaml, which says how to load the networks, is missing.",))
    places = {name: _place(run, name, settings) for name in NAMES}
    if not any(_saved(places[name], results) for name, results in _results(pair).items()):
        advice = "no counterexample was saved; run with general.save_adv_example: true (--save_adv_example)"
        return Section(TITLE, (f"Not computed: {advice}.",))
    try:
        models = _models(settings)
    except (AbcrownGraftError, OSError) as error:
        return Section(TITLE, (f"Not computed: the networks cannot be loaded ({error}).",))
    for name, model in models.items():
        about, _ = read_verdicts(run.results(name))
        check_weights(_weights_file(settings, name), model.identity.weights, about, run.results(name))
    return Section(TITLE, (TEXT,), (_table(places, pair, models),))


def _results(pair: Paired) -> dict[str, dict[int, InstanceResult]]:
    return {"baseline": pair.baseline, "grafted": pair.grafted}


def _place(run: RunFolder, name: str, settings: Config) -> Path | None:
    """Where the counterexamples against a network lie, None if they were not saved.

    The results say so; `settings` are of the tuning and may be older. Only results of earlier versions say nothing.
    """
    file = run.results(name)
    header, _, _ = read_results(file)
    if "counterexamples" not in header:
        return counterexample_path(settings, name)
    place = header["counterexamples"]
    if not isinstance(place, str | None):
        raise FileFormatError(f"{file}: counterexamples: {place!r} is no path; run 'abcrown-graft run' again")
    return None if place is None else file.parent / place


def _saved(place: Path | None, results: dict[int, InstanceResult]) -> bool:
    """Whether any counterexample against a network is there."""
    return place is not None and any(file_of_image(place, index).is_file() for index in attacked_images(results))


def _models(settings: Config) -> dict[str, LoadedModel]:
    return {
        "baseline": inputs.configured_model(baseline_config(settings)),
        "grafted": inputs.configured_model(grafted_config(settings)),
    }


def _weights_file(settings: Config, name: str) -> Path:
    chosen, key = (
        (baseline_config(settings), "model.path")
        if name == "baseline"
        else (grafted_config(settings), "graft.checkpoint")
    )
    return chosen.path(key) or Path(key)


def _table(places: dict[str, Path | None], pair: Paired, models: dict[str, LoadedModel]) -> TableOf:
    headings = ("found against", "tried on", "attacked", "saved", "other network correct", "fooled", "share %")
    results, rows = _results(pair), []
    for source, target in DIRECTIONS:
        place, chosen = places[source], attacked_images(results[source])
        points = {} if place is None else read_counterexamples(place, chosen, models[target].input_shape)
        rows.append((source, target, *_cells(transfer(results[source], results[target], points, models[target]))))
    return TableOf(headings, tuple(rows))


def _cells(found: Transfer) -> tuple[str, ...]:
    share = "-" if found.share is None else f"{100 * found.share:.1f}"
    return (str(found.attacked), str(found.found), str(found.correct), str(found.fooled), share)
