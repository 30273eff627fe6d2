"""Every wrong input is one line on stderr and exit code 2, and leaves every file as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import MINIATURE, Finished, run_main, snapshot
from safetensors.torch import save

from abcrown_graft.cli import abcrown, tools
from abcrown_graft.files import HEADER, read_safetensors, save_tensors
from abcrown_graft.masks.dump import add, empty
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.mask import GraftMask
from abcrown_graft.masks.scores import SiteScores
from abcrown_graft.models.weights import package_folder

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHTS = package_folder() / "model_defs" / "weights"
CONFIG = """
general: {device: cpu}
model: {name: digits_cnn, path: plain.safetensors}
data: {dataset: DIGITS, end: 4}
specification: {epsilon: 0.1}
attack: {pgd_steps: 2, pgd_restarts: 1}
"""
Prepare = Callable[[Path], object]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a configuration, a plain and a grafted network, and earlier results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABCROWN_GRAFT_DATA", raising=False)
    (tmp_path / "a.yaml").write_text(CONFIG)
    (tmp_path / "pipeline.yaml").write_text(MINIATURE)
    shutil.copy(WEIGHTS / "digits_baseline.safetensors", tmp_path / "plain.safetensors")
    shutil.copy(WEIGHTS / "digits_graft.safetensors", tmp_path / "grafted.safetensors")
    for name in ("train.safetensors", "report.md", "verify_baseline.jsonl"):
        (tmp_path / "runs").mkdir(exist_ok=True)
        (tmp_path / "runs" / name).write_text("an earlier result")
    return tmp_path


def refuse(main: Callable[..., int], words: str, here: Path, told: str) -> Finished:
    """Runs the command and holds it to the rules for wrong input."""
    before = snapshot(here)
    found = run_main(main, *words.split())
    assert found.code == 2, found
    assert found.err.startswith("error: ") and found.err.count("\n") == 1 and found.err.endswith("\n")
    assert "Traceback" not in found.err and "Traceback" not in found.out
    for part in told.split(" ... "):
        assert part in found.err
    assert snapshot(here) == before, "a refused command writes nothing"
    return found


def write(name: str, content: str | bytes) -> Prepare:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def append(content: str) -> Prepare:
    return lambda folder: (folder / "a.yaml").write_text(CONFIG + content)


def replace(old: str, new: str) -> Prepare:
    assert old in CONFIG
    return lambda folder: (folder / "a.yaml").write_text(CONFIG.replace(old, new))


def nothing(folder: Path) -> None:
    """The files are fine; the words are not."""


def cut(name: str, keep: int) -> Prepare:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def not_a_number(folder: Path) -> None:
    tensors, _ = read_safetensors(folder / "plain.safetensors")
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name].view(-1)[0] = float("nan")
    save_tensors(folder / "plain.safetensors", "checkpoint", tensors, {})


def nested_header(folder: Path) -> None:
    tensors, _ = read_safetensors(folder / "plain.safetensors")
    (folder / "plain.safetensors").write_bytes(save(tensors, metadata={HEADER: "[" * 10**5}))


def plain_identity() -> ModelIdentity:
    sites = {"1": (16, 8, 8), "3": (32, 4, 4), "6": (100,)}
    return ModelIdentity("another architecture", "weights", sites)


def mask_of_another_model(folder: Path) -> None:
    model = plain_identity()
    masks = {site: torch.ones(shape, dtype=torch.bool) for site, shape in model.sites.items()}
    GraftMask(masks, model).save(folder / "mask.safetensors")


def mask_of_other_sites(folder: Path) -> None:
    model = ModelIdentity("another architecture", "weights", {"1": (3,)})
    GraftMask({"1": torch.ones(3, dtype=torch.bool)}, model).save(folder / "mask.safetensors")


def truncated_mask(folder: Path) -> None:
    mask_of_another_model(folder)
    cut("mask.safetensors", 500)(folder)


def a_dump(name: str, first: int = 0, model: ModelIdentity | None = None, **settings: object) -> Prepare:
    """A dump of images `first` and `first + 1`."""

    def prepare(folder: Path) -> None:
        identity = model or plain_identity()
        flags = {site: torch.zeros(2, *shape, dtype=torch.bool) for site, shape in identity.sites.items()}
        add(empty(identity, {}, settings), [first, first + 1], flags).save(folder / name)

    return prepare


def both(*steps: Prepare) -> Prepare:
    return lambda folder: [step(folder) for step in steps]


def scores_of_two_models(folder: Path) -> None:
    a_dump("dump.safetensors")(folder)
    other = ModelIdentity("yet another", "weights", plain_identity().sites)
    values = {site: torch.ones(shape) for site, shape in other.sites.items()}
    SiteScores("significance", values, other).save(folder / "scores.safetensors")


def dump_of_other_settings(folder: Path) -> None:
    words = (
        "instability --config a.yaml --instability_split test --instability_end 2 --instability_dump dump.safetensors"
    )
    assert run_main(tools.main, *words.split()).code == 0


def truncated_dump(folder: Path) -> None:
    dump_of_other_settings(folder)
    cut("dump.safetensors", -20)(folder)


def npz(**arrays: np.ndarray) -> Prepare:
    return lambda folder: np.savez(folder / "mine.npz", **arrays)


PIXELS = np.full((2, 1, 8, 8), 0.5, dtype=np.float32)
BAD_PIXELS = np.where(np.arange(64).reshape(8, 8) == 9, np.nan, PIXELS).astype(np.float32)
TWO_MODELS = both(a_dump("a.st"), a_dump("b.st", 2, ModelIdentity("b", "w", {"1": (3,)})))
TWO_SETTINGS = both(a_dump("a.st", epsilon=0.1), a_dump("b.st", 2, epsilon=0.2))
NO_MODEL = write("pipeline.yaml", MINIATURE.replace("model: {name: digits_cnn}", ""))
NO_EPSILON = write("pipeline.yaml", MINIATURE.replace(", epsilon: 0.05", ""))


def published_scores(folder: Path) -> None:
    torch.save([torch.ones(3)], folder / "s.pth")


A = "--config a.yaml"
NPZ = f"{A} --dataset mine.npz"
MASK = f"{A} --graft_mask mask.safetensors"
DUMP = f"{A} --instability_dump dump.safetensors"

WRONG_VERIFICATION = {
    "missing configuration": (nothing, "--config nowhere.yaml", "nowhere.yaml: no such file"),
    "misspelt configuration": (nothing, "--config digits_grft", "did you mean exp_configs/digits_graft.yaml?"),
    "a folder as configuration": (nothing, "--config runs", "runs: this is a folder"),
    "no configuration": (nothing, "", "no configuration: give --config FILE.yaml"),
    "unknown key": (append("bab:\n  branching:\n    metod: fsb\n"), A,
        "a.yaml:9: ... metod ... did you mean ... method"),
    "unknown section": (append("solvr: {batch_size: 3}\n"), A, "a.yaml:7: ... solvr ... did you mean ... solver"),
    "key given twice": (append("general: {device: cpu}\n"), A,
        "a.yaml:7: key 'general' is given twice, first on line 2"),
    "value of another type": (append("bab: {timeout: soon}\n"), A,
        "a.yaml:7: bab.timeout: expected a number ... 'soon'"),
    "tabs in YAML": (append("bab:\n\ttimeout: 3\n"), A, "a.yaml:8: not valid YAML"),
    "YAML of a pipe": (lambda folder: os.mkfifo(folder / "pipe"), "--config pipe", "pipe: cannot be read (this"),
    "an endless YAML": (nothing, "--config /dev/zero", "/dev/zero: cannot be read (this is a device, not a file)"),
    "an endless include": (append("include: /dev/zero\n"), A, "/dev/zero: cannot be read ... (included by a.yaml:7)"),
    "deeply nested YAML": (append(f"bab: {'[' * 10**5}\n"), A, "a.yaml:7: not valid YAML: nested more than 50 deep"),
    "binary YAML": (write("a.yaml", bytes(range(256))), A, "a.yaml: not a text file in UTF-8"),
    "control characters": (write("a.yaml", "general:\n  device: \x01\n"), A, "a.yaml:2: not valid YAML: forbidden"),
    "invalid UTF-8": (write("a.yaml", b"general: {device: \xff}"), A, "a.yaml: not a text file in UTF-8"),
    "empty YAML": (write("a.yaml", "# nothing\n"), A, "a.yaml: the file is empty"),
    "unknown flag": (nothing, f"{A} --epsilo 0.1", "unknown flag --epsilo; did you mean --epsilon?"),
    "flag without value": (nothing, f"{A} --epsilon", "flag --epsilon: expected one argument"),
    "flag of another type": (nothing, f"{A} --end many", "flag --end: data.end: expected an integer ... 'many'"),
    "stray word": (nothing, f"{A} extra", "unexpected argument 'extra'"),
    "branching rule not there": (append("bab: {branching: {method: fsb}}\n"), A,
        "a.yaml:7: bab.branching.method = 'fsb'"),
    "verifier not there": (nothing, f"{A} --complete_verifier bab-refine",
        "flag --complete_verifier: general.complete_verifier"),
    "norm not there": (nothing, f"{A} --norm 2", "flag --norm: specification.norm = 2.0 is not implemented"),
    "alpha,beta-CROWN": (nothing, f"{A} --engine abcrown",
        "general.engine: abcrown is not available ... --engine native"),
    "no device": (nothing, f"{A} --device cuda",
        "flag --device: general.device: cuda is not available ... --device cpu"),
    "missing checkpoint": (nothing, f"{A} --load_model nowhere.pth", "model.path: nowhere.pth: no such file"),
    "no checkpoint": (replace(", path: plain.safetensors", ""), A, "model.path: not set ... random weights"),
    "checkpoint of another model": (nothing, f"{A} --model cnn_a", "plain.safetensors: does not fit model.name"),
    "unknown kind of checkpoint": (nothing, f"{A} --load_model a.yaml", "a.yaml: unknown kind of checkpoint '.yaml'"),
    "truncated checkpoint": (cut("plain.safetensors", 900), A, "plain.safetensors: not a complete safetensors file"),
    "almost whole checkpoint": (cut("plain.safetensors", -4), A, "plain.safetensors: not a complete safetensors file"),
    "empty checkpoint": (cut("plain.safetensors", 0), A, "plain.safetensors: not a complete safetensors file"),
    "deeply nested header": (nested_header, A, "plain.safetensors: not a complete safetensors file (nested more than"),
    "NaN weights": (not_a_number, A, "plain.safetensors: ... has 1 NaN or infinite entries"),
    "plain network as grafted": (nothing, f"{A} --graft_checkpoint plain.safetensors", "not a grafted checkpoint"),
    "no model": (replace("name: digits_cnn, ", ""), A, "a.yaml: model.name: not set"),
    "unknown model": (nothing, f"{A} --model digits_cn", "model definition 'digits_cn'; did you mean 'digits_cnn'?"),
    "input of another shape": (nothing, f"{A} --input_shape -1 1 9 9", "model.input_shape: (1, 9, 9) given"),
    "input shape without batch": (nothing, f"{A} --input_shape 3 8 8",
        "flag --input_shape: model.input_shape: [3, 8, 8]"),
    "missing mask": (nothing, f"{A} --graft_mask nowhere.safetensors", "nowhere.safetensors: no such file"),
    "mask of another model": (mask_of_another_model, MASK, "mask.safetensors: the mask is of another model"),
    "mask of other sites": (mask_of_other_sites, MASK, "mask.safetensors: ... sites: '3', '6'"),
    "truncated mask": (truncated_mask, MASK, "mask.safetensors: not a complete"),
    "checkpoint as mask": (nothing, f"{A} --graft_mask plain.safetensors",
        "this is a 'checkpoint' file, expected 'mask'"),
    "truncated dump": (truncated_dump, DUMP, "dump.safetensors: not a complete"),
    "dump of other settings": (dump_of_other_settings, f"{DUMP} --epsilon 0.2",
        "dump.safetensors: made with epsilon = 0.1, this run has 0.2"),
    "dump of another model": (a_dump("dump.safetensors"), DUMP, "dump.safetensors: a dump of another model"),
    "no data set": (replace("dataset: DIGITS, ", ""), A, "a.yaml: data.dataset: not set"),
    "unknown data set": (nothing, f"{A} --dataset DIGIT", "unknown data set 'DIGIT'; did you mean 'DIGITS'?"),
    "missing data set": (nothing, f"{A} --dataset MNIST --data_dir there",
        "t10k-images-idx3-ubyte ... there ... data.data_dir (--data_dir)"),
    "missing NPZ": (nothing, f"{A} --dataset nowhere.npz", "nowhere.npz"),
    "truncated NPZ": (both(npz(x=PIXELS, y=np.array([0, 1])), cut("mine.npz", 300)), NPZ,
        "mine.npz: not a complete .npz"),
    "images of another shape": (npz(x=np.zeros((2, 28, 28), np.uint8), y=np.array([0, 1])), NPZ,
        "images of shape (1, 28, 28), the model takes (1, 8, 8)"),
    "label out of range": (npz(x=PIXELS, y=np.array([0, 12])), NPZ, "mine.npz has label 12, the model 10 outputs"),
    "label out of the classes": (npz(x=PIXELS, y=np.array([0, 12]), num_classes=np.array(10)), NPZ,
        "label 12 of image 1 is outside 0..9"),
    "negative label": (npz(x=PIXELS, y=np.array([0, -1])), NPZ, "label -1 of image 1"),
    "more labels than images": (npz(x=PIXELS, y=np.array([0, 1, 2])), NPZ, "2 images but 3 labels"),
    "NaN pixels": (npz(x=BAD_PIXELS, y=np.array([0, 1])), NPZ, "image 0 has a pixel of value nan"),
    "pixels up to 255": (npz(x=255 * PIXELS, y=np.array([0, 1])), NPZ, "outside [0, 1]"),
    "another number of classes": (nothing, f"{A} --num_outputs 7", "data.num_outputs: 7, the model has 10 outputs"),
    "standard deviation of zero": (nothing, f"{A} --std 0", "flag --std: data.std"),
    "too many standard deviations": (nothing, f"{A} --std 1 1", "data.std: ... has 2 entries"),
    "too many means": (nothing, f"{A} --mean 0 0 0", "data.mean: ... has 3 entries"),
    "empty range": (nothing, f"{A} --start 5 --end 5", "data.start 5 ... data.end 5 ... leave no image"),
    "range turned round": (nothing, f"{A} --start 5 --end 2", "leave no image"),
    "range past the end": (nothing, f"{A} --start 500 --end 600", "leave no image; the split has 500"),
    "image that does not exist": (nothing, f"{A} --select_instance 3 500",
        "image 500 does not exist; the split has 500"),
    "missing list of images": (nothing, f"{A} --data_idx_file nowhere.txt", "data.data_idx_file: nowhere.txt"),
    "garbage as list of images": (write("list.txt", "one two"), f"{A} --data_idx_file list.txt",
        "data.data_idx_file: list.txt"),
    "empty list of images": (write("list.txt", ""), f"{A} --data_idx_file list.txt", "list.txt: names no image"),
    "no epsilon": (replace("specification: {epsilon: 0.1}", ""), A, "a.yaml: specification.epsilon: not set"),
    "negative epsilon": (nothing, f"{A} --epsilon -0.1", "flag --epsilon: specification.epsilon: ... at least 0"),
    "somebody's file as results": (write("notes.txt", "mine\n"), f"{A} --results_file notes.txt", "notes.txt"),
    "an image as results": (write("out.txt", bytes(range(256))), A, "out.txt"),
    "a folder as results": (nothing, f"{A} --results_file runs", "runs"),
    "results below a file": (nothing, f"{A} --results_file a.yaml/out.txt", "a.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_VERIFICATION)
def test_abcrown_refuses(here: Path, case: str) -> None:
    prepare, words, told = WRONG_VERIFICATION[case]
    if "--device cuda" in words and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    prepare(here)
    refuse(abcrown.main, words, here, told)


P = "--config a.yaml --pipeline_output new"
M = "mask --pipeline_output new --instability_dump dump.safetensors"
TUNE = f"tune {P} --train_validation 9 --mask_path mask.safetensors"
INTO = "--instability_dump m.st"
COUNT = f"instability {P} --instability_split train --instability_dump dump.safetensors"
WRONG_STAGES = {
    "no stage": (nothing, "", "no stage given"),
    "unknown stage": (nothing, "graft", "invalid choice: 'graft'"),
    "unknown flag": (nothing, "train --train_epoch 3", "did you mean --train_epochs?"),
    "flag of another stage": (nothing, "train --tune_epochs 3", "unknown flag --tune_epochs"),
    "missing configuration": (nothing, "tune --config nowhere.yaml", "nowhere.yaml: no such file"),
    "no model": (nothing, "train --dataset DIGITS --epsilon 0.1 --device cpu", "model.name: not set"),
    "too few images to train": (nothing, f"train {P}", "train.validation: 5000 images leave none of 1297"),
    "more images than there are": (nothing, f"train {P} --train_limit 9999", "train.limit: 9999, the split has 1297"),
    "no epochs": (nothing, f"train {P} --train_validation 9 --train_epochs 0", "train.epochs"),
    "norm not there": (nothing, f"train {P} --norm 2 --train_validation 9", "specification.norm"),
    "no plain network": (nothing, "instability --config pipeline.yaml --pipeline_output new",
        "model.path: ... no such file; make it with: abcrown-graft train --config pipeline.yaml"),
    "empty range": (nothing, f"instability {P} --instability_start 3 --instability_end 3",
        "instability.start 3 ... leave no image"),
    "dump of other settings": (dump_of_other_settings, COUNT, "dump.safetensors: made with data"),
    "truncated dump": (truncated_dump, f"instability {P} --instability_dump dump.safetensors",
        "dump.safetensors: not a complete"),
    "more samples than images": (nothing, f"significance {P} --significance_samples 9999",
        "significance.samples: 9999"),
    "no dump": (nothing, "mask --pipeline_output new", "instability.safetensors: no such file"),
    "no significance": (a_dump("dump.safetensors"), M, "needs significance scores"),
    "scores of two models": (scores_of_two_models, f"{M} --significance_path scores.safetensors",
        "scores.safetensors: scores of another model"),
    "ratio out of range": (nothing, "mask --mask_ratio 1.5", "flag --mask_ratio: mask.ratio: ... at most 1"),
    "unknown preset": (nothing, "mask --mask_preset papr", "flag --mask_preset: mask.preset: expected one of paper"),
    "cap under the ratio": (a_dump("dump.safetensors"), f"{M} --mask_preset unstable --mask_layer_cap 0.2",
        "layer cap 0.2"),
    "published scores of no network": (published_scores, "mask --instability_dump s.pth", "model.name: not set"),
    "no mask": (nothing, f"tune {P} --train_validation 9", "mask.safetensors: no such file"),
    "mask of another model": (mask_of_another_model, TUNE, "mask.safetensors: the mask is of another model"),
    "truncated mask": (truncated_mask, TUNE, "mask.safetensors: not a complete"),
    "more images than there are to evaluate": (nothing, f"evaluate {P} --evaluate_limit 501",
        "evaluate.limit: 501, the split has 500"),
    "no grafted network": (nothing, f"evaluate {P} --graft_checkpoint nowhere.safetensors",
        "graft.checkpoint: nowhere.safetensors: no such file"),
    "no target of a merger": (a_dump("d.st"), "merge d.st", "give --instability_dump FILE"),
    "missing dump in a merger": (a_dump("d.st"), f"merge d.st nowhere.st {INTO}", "nowhere.st: no such file"),
    "one dump twice": (a_dump("d.st"), f"merge d.st d.st {INTO}", "2 images are counted in both dumps"),
    "dumps of two models": (TWO_MODELS, f"merge a.st b.st {INTO}", "dumps of different models"),
    "dumps of two settings": (TWO_SETTINGS, f"merge a.st b.st {INTO}", "epsilon is 0.1 and 0.2"),
    "truncated dump in a merger": (both(a_dump("d.st"), cut("d.st", 99)), f"merge d.st {INTO}", "d.st: not a complete"),
    "report of no run": (nothing, "report model_defs", "model_defs: no such folder"),
    "report of another folder": (lambda folder: (folder / "empty").mkdir(), "report empty --report_path report.md",
        "holds no verify_baseline.jsonl"),
    "report of a damaged run": (nothing, "report runs", "verify_baseline.jsonl"),
    "run of nothing": (nothing, "run", "no configuration: abcrown-graft run FILE.yaml"),
    "run of a missing file": (nothing, "run nowhere.yaml", "nowhere.yaml: no such file"),
    "run without a model": (NO_MODEL, "run pipeline.yaml", "pipeline.yaml: model.name: not set"),
    "run without epsilon": (NO_EPSILON, "run pipeline.yaml",
        "pipeline.yaml: specification.epsilon: not set"),
    "run of a verification's configuration": (nothing, "run a.yaml",
        "train.validation: 5000 images leave none of 1297"),
    "run with a wrong last stage": (nothing, "run pipeline.yaml --evaluate_limit 501", "evaluate.limit: 501"),
    "run with another network at the end": (nothing, "run pipeline.yaml --graft_checkpoint grafted.safetensors",
        "graft.checkpoint: grafted.safetensors is not the file that the pipeline writes"),
    "run with a damaged record": (write("runs/stages.json", "{"), "run pipeline.yaml",
        "stages.json: not a readable JSON file"),
    "run with a deeply nested record": (write("runs/stages.json", "[" * 10**5), "run pipeline.yaml",
        "stages.json: not a readable JSON file (nested more than 100 deep)"),
    "report of a deeply nested record": (write("runs/run.json", "[" * 10**5), "report runs",
        "run.json: not a readable JSON file (nested more than 100 deep)"),
    "report of deeply nested results": (write("runs/verify_baseline.jsonl", "[" * 10**5 + "\n"), "report runs",
        "verify_baseline.jsonl:1: not a line of a results file"),
    "run by another engine": (nothing, "run pipeline.yaml --engine abcrown",
        "general.engine: abcrown is not available"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_STAGES)
def test_abcrown_graft_refuses(here: Path, case: str) -> None:
    prepare, words, told = WRONG_STAGES[case]
    prepare(here)
    refuse(tools.main, words, here, told)
