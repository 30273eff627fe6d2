"""The options that say what a run works on: engine and device, network, images, grafting, folders."""

from __future__ import annotations

from dataclasses import dataclass

from abcrown_graft.config.kinds import (
    BOOLEAN,
    FLOAT,
    FLOAT_OR_FLOATS,
    INTEGER,
    INTEGERS,
    PATH,
    TEXT,
)
from abcrown_graft.config.option import ABCROWN
from abcrown_graft.config.settings import Settings, engine_option, stage_option
from abcrown_graft.registry import OneOf
from abcrown_graft.verify.options import COMPLETE, UPSTREAM_COMPLETE


@dataclass(frozen=True, kw_only=True)
class GeneralOptions(Settings):
    """The section `general`: engine, device and files."""

    engine: str = engine_option(
        "general.engine",
        TEXT,
        "auto",
        "Verifier to run: native is this package's own, abcrown an installed α,β-CROWN, auto takes α,β-CROWN if it is "
        "installed.",
        "--engine",
        choices=("auto", "native", "abcrown"),
    )
    abcrown_path: str | None = engine_option(
        "general.abcrown_path",
        PATH,
        None,
        "Folder of an α,β-CROWN checkout, where it is not installed as a package.",
        "--abcrown_path",
        engines=ABCROWN,
    )
    abcrown_log: str | None = engine_option(
        "general.abcrown_log",
        PATH,
        None,
        "File that receives what α,β-CROWN prints; by default the results file's name with .log after it.",
        "--abcrown_log",
        engines=ABCROWN,
    )
    allow_unsound: bool = engine_option(
        "general.allow_unsound",
        BOOLEAN,
        False,
        "Run α,β-CROWN also with options that were seen to fail there or to give wrong verdicts.",
        "--allow_unsound",
        engines=ABCROWN,
    )
    progress: bool = engine_option(
        "general.progress", BOOLEAN, True, "Draw a progress bar; the flag switches it off.", "--no_progress"
    )
    device: str = engine_option(
        "general.device", TEXT, "cuda", "Device that does the computations.", "--device", choices=("cpu", "cuda")
    )
    seed: int = engine_option(
        "general.seed", INTEGER, 100, "Seed of every random number generator.", "--seed", low=0, high=2**32 - 1
    )
    double_fp: bool = engine_option(
        "general.double_fp", BOOLEAN, False, "Compute everything in float64.", "--double_fp"
    )
    save_adv_example: bool = engine_option(
        "general.save_adv_example",
        BOOLEAN,
        False,
        "Write the counterexamples found to attack.cex_path.",
        "--save_adv_example",
    )
    complete_verifier: str = engine_option(
        "general.complete_verifier",
        TEXT,
        "bab",
        "Method for instances that the incomplete bounds leave open.",
        "--complete_verifier",
        choices=OneOf(COMPLETE, UPSTREAM_COMPLETE),
        supported=COMPLETE,
        upstream=UPSTREAM_COMPLETE,
    )
    enable_incomplete_verification: bool = engine_option(
        "general.enable_incomplete_verification",
        BOOLEAN,
        True,
        "Bound every instance once before any search; the flag switches it off.",
        "--no_incomplete",
    )
    results_file: str = engine_option(
        "general.results_file", PATH, "out.txt", "File that receives the verdicts.", "--results_file"
    )
    root_path: str = engine_option(
        "general.root_path", PATH, "", "Folder that relative paths start from.", "--root_path"
    )
    csv_name: str | None = engine_option(
        "general.csv_name",
        PATH,
        None,
        "List of instances, each line onnx,vnnlib,timeout or a VNN-LIB file alone; data.start, data.end and "
        "data.select_instance choose lines. Without effect where specification.vnnlib_path is set.",
        "--csv_name",
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Settings):
    """The section `model`: the network."""

    name: str | None = engine_option(
        "model.name",
        TEXT,
        None,
        'Model definition: a registered name, or Customized("file.py", "function", key=value).',
        "--model",
    )
    path: str | None = engine_option("model.path", PATH, None, "Checkpoint with the weights.", "--load_model")
    onnx_path: str | None = engine_option(
        "model.onnx_path", PATH, None, "Network as an ONNX file, in place of model.name and its path.", "--onnx_path"
    )
    onnx_path_prefix: str = engine_option(
        "model.onnx_path_prefix",
        TEXT,
        "",
        "Put before the path of every ONNX file that comes with VNN-LIB.",
        "--onnx_path_prefix",
    )
    input_shape: tuple[int, ...] | None = engine_option(
        "model.input_shape",
        INTEGERS,
        None,
        "Shape of the model's input with -1 for the batch, checked against the definition.",
        "--input_shape",
    )


@dataclass(frozen=True, kw_only=True)
class DataOptions(Settings):
    """The section `data`: the images."""

    start: int = engine_option("data.start", INTEGER, 0, "First image, counted from 0.", "--start", low=0)
    end: int = engine_option("data.end", INTEGER, 10000, "Image to stop before.", "--end", low=0)
    select_instance: tuple[int, ...] | None = engine_option(
        "data.select_instance",
        INTEGERS,
        None,
        "Just these images, in place of the range from start to end.",
        "--select_instance",
        low=0,
    )
    num_outputs: int = engine_option("data.num_outputs", INTEGER, 10, "Number of classes.", "--num_outputs", low=1)
    mean: float | tuple[float, ...] = engine_option(
        "data.mean",
        FLOAT_OR_FLOATS,
        0.0,
        "Mean subtracted from the pixels, one for all channels or one for each.",
        "--mean",
    )
    std: float | tuple[float, ...] = engine_option(
        "data.std",
        FLOAT_OR_FLOATS,
        1.0,
        "Standard deviation that the pixels are divided by, one for all channels or one for each.",
        "--std",
        above=0,
    )
    dataset: str | None = engine_option(
        "data.dataset",
        TEXT,
        None,
        'Data set: a registered name, or Customized("file.py", "function", key=value).',
        "--dataset",
    )
    data_idx_file: str | None = engine_option(
        "data.data_idx_file", PATH, None, "Text file with the numbers of the images.", "--data_idx_file"
    )
    data_dir: str = engine_option(
        "data.data_dir",
        PATH,
        "data",
        "Folder with the data sets' files.",
        "--data_dir",
        environment="ABCROWN_GRAFT_DATA",
    )
    split: str = engine_option(
        "data.split", TEXT, "test", "Split that the images come from.", "--split", choices=("test", "train")
    )


@dataclass(frozen=True, kw_only=True)
class GraftOptions(Settings):
    """The section `graft`: grafting at verification."""

    mask: str | None = engine_option(
        "graft.mask", PATH, None, "Mask file: the neurons to graft before verification.", "--graft_mask"
    )
    slope: float = engine_option(
        "graft.slope", FLOAT, 0.4, "Slope of grafted neurons that no checkpoint gives one.", "--graft_slope"
    )
    intercept: float = engine_option(
        "graft.intercept", FLOAT, 0.0, "Intercept of grafted neurons that no checkpoint gives one.", "--graft_intercept"
    )
    checkpoint: str | None = engine_option(
        "graft.checkpoint",
        PATH,
        None,
        "Checkpoint of the grafted network: weights, slopes, intercepts and mask.",
        "--graft_checkpoint",
    )


@dataclass(frozen=True, kw_only=True)
class PipelineOptions(Settings):
    """The section `pipeline`: all stages in a row."""

    output: str = stage_option("pipeline.output", PATH, "runs", "Folder that receives the files of every stage.")
    baseline: str | None = stage_option(
        "pipeline.baseline",
        PATH,
        None,
        "Folder that receives what belongs to the plain network, which several runs may share; null is "
        "pipeline.output.",
    )
    networks: str = stage_option(
        "pipeline.networks",
        TEXT,
        "both",
        "Networks to make and measure: the plain and the grafted one, or the plain one alone.",
        choices=("both", "baseline"),
    )
    label: str | None = stage_option(
        "pipeline.label", TEXT, None, "Name of the run in tables; made of its method and ratio if it is not set."
    )
