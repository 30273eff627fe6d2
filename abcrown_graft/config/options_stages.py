"""The options of the pipeline's stages. Each flag is `--<section>_<name>`, save `--freeze_weights` and `--sweep`."""

from __future__ import annotations

from typing import Any

from abcrown_graft.config.kinds import BOOLEAN, FLOAT, FLOATS, INTEGER, INTEGERS, PATH, TEXT, Kind
from abcrown_graft.config.option import Option


def _stage(key: str, kind: Kind, default: Any, help: str, **settings: Any) -> Option:
    settings.setdefault("flag", "--" + key.replace(".", "_"))
    return Option(key, kind, default, help, engines=frozenset({key.split(".", 1)[0]}), **settings)


STAGE_OPTIONS: tuple[Option, ...] = (
    _stage(
        "instability.split",
        TEXT,
        "train",
        "Split that the stage counts unstable neurons on.",
        choices=("train", "test"),
    ),
    _stage("instability.start", INTEGER, 0, "First image to count, from 0.", low=0),
    _stage("instability.end", INTEGER, None, "Image to stop counting before; null is the end of the split.", low=0),
    _stage(
        "train.method",
        TEXT,
        "fat",
        "Loss of training, and of tune: adversarial (fat takes one gradient step, pgd and trades take several) or "
        "certified, by interval bounds (ibp) or CROWN's and then those (crown-ibp).",
        choices=("fat", "pgd", "trades", "ibp", "crown-ibp"),
    ),
    _stage("train.epochs", INTEGER, 200, "Passes over the training images.", low=0),
    _stage("train.batch_size", INTEGER, 128, "Images of one step.", low=1),
    _stage("train.lr", FLOAT, 0.1, "Learning rate at the start.", low=0),
    _stage("train.momentum", FLOAT, 0.9, "Momentum of the optimiser.", low=0, high=1),
    _stage("train.weight_decay", FLOAT, 5e-4, "Weight decay of the optimiser.", low=0),
    _stage(
        "train.schedule",
        TEXT,
        "multistep",
        "How the learning rate falls: at milestones, along a cosine epoch by epoch, or linearly step by step.",
        choices=("multistep", "cosine", "linear"),
    ),
    _stage("train.warmup", FLOAT, 0.0, "Epochs over which the learning rate rises from 0.", low=0),
    _stage(
        "train.milestones", INTEGERS, (100, 150), "Epochs at which the learning rate is multiplied by lr_factor.", low=0
    ),
    _stage("train.lr_factor", FLOAT, 0.1, "Factor on the learning rate at each milestone.", low=0),
    _stage(
        "train.attack_step",
        FLOAT,
        1.25,
        "Step of the one-step attack, of fat and of every method's validation, in units of epsilon.",
        low=0,
    ),
    _stage("train.gradalign", FLOAT, 0.2, "Weight of the GradAlign term of fat; 0 switches it off.", low=0),
    _stage("train.pgd_steps", INTEGER, 7, "Gradient steps of the attack of pgd and trades.", low=1),
    _stage("train.pgd_step", FLOAT, 2.5, "Step of that attack, in units of epsilon / pgd_steps.", above=0),
    _stage("train.trades_beta", FLOAT, 6.0, "Weight of the divergence in trades.", low=0),
    _stage(
        "train.kappa",
        FLOAT,
        0.5,
        "Weight of the clean images in ibp and crown-ibp once epsilon is full; it falls from 1.",
        low=0,
        high=1,
    ),
    _stage("train.epsilon_start", FLOAT, 0.0, "Epochs that ibp and crown-ibp leave epsilon at 0.", low=0),
    _stage(
        "train.epsilon_length",
        FLOAT,
        0.0,
        "Epochs over which ibp and crown-ibp then raise epsilon to its full size; tune has it full from the start.",
        low=0,
    ),
    _stage(
        "train.augment",
        TEXT,
        "none",
        "Augmentation: crop_flip pads, crops at random and mirrors.",
        choices=("none", "crop_flip"),
    ),
    _stage(
        "train.precision",
        TEXT,
        "float32",
        "Arithmetic of the passes, of tune too: bfloat16 is mixed precision with float32 weights.",
        choices=("float32", "bfloat16"),
    ),
    _stage("train.channels_last", BOOLEAN, False, "Memory format of images and convolutions, of tune too."),
    _stage(
        "train.compile",
        BOOLEAN,
        False,
        "Run by torch.compile what is differentiated once, of tune too; not for ibp and crown-ibp.",
    ),
    _stage(
        "train.tensorboard",
        BOOLEAN,
        False,
        "Write every epoch's figures for TensorBoard (pip install tensorboard) beside the checkpoint, of tune too.",
    ),
    _stage("train.validation", INTEGER, 5000, "Images at the end of the training split kept for validation.", low=0),
    _stage("train.limit", INTEGER, None, "Number of training images used; null is all.", low=1),
    _stage("train.checkpoint", PATH, None, "File that receives the trained weights."),
    _stage(
        "significance.method",
        TEXT,
        "gradient",
        "Score: mean |gradient| of the loss, mean |value|, or variance of each pre-activation; minus the mean width of "
        "its unstable intervals, weighted by what it feeds (interval); or learned by robust training (learned).",
        choices=("gradient", "magnitude", "variance", "interval", "learned"),
    ),
    _stage("significance.samples", INTEGER, 1000, "Training images that the score is made from.", low=1),
    _stage("significance.batch_size", INTEGER, 100, "Images of one pass, or of one step of learned.", low=1),
    _stage(
        "significance.init",
        TEXT,
        "gradient",
        "Score that learned starts from, scaled.",
        choices=("gradient", "magnitude", "variance", "interval"),
    ),
    _stage("significance.epochs", INTEGER, 20, "Passes of learned over the images.", low=1),
    _stage("significance.lr", FLOAT, 0.1, "Learning rate of learned at the start; it falls along a cosine.", low=0),
    _stage("significance.gradalign", FLOAT, 0.2, "Weight of the GradAlign term in learned; 0 switches it off.", low=0),
    _stage(
        "significance.ratio", FLOAT, 0.5, "Share of the neurons that learned does not keep as ReLUs.", low=0, high=1
    ),
    _stage(
        "significance.scope",
        TEXT,
        "layer",
        "Whether learned keeps that share of every layer or of the whole network.",
        choices=("global", "layer"),
    ),
    _stage(
        "significance.replacement",
        TEXT,
        "linear",
        "What learned has in place of the other neurons: the line of tune.slope and tune.intercept, or zero (pruning).",
        choices=("linear", "zero"),
    ),
    _stage("significance.path", PATH, None, "File that receives the scores."),
    _stage(
        "mask.preset",
        TEXT,
        "paper",
        "How neurons are chosen: by instability times gamma minus significance with gamma falling to 0 (paper, thesis) "
        "or fixed, by one of the two alone (unstable, insignificant), or at random.",
        choices=("paper", "thesis", "unstable", "insignificant", "random", "fixed"),
    ),
    _stage("mask.ratio", FLOAT, 0.5, "Share of all neurons to graft.", low=0, high=1),
    _stage(
        "mask.sweep",
        FLOATS,
        (),
        "Shares to graft instead of mask.ratio, for the command mask: one file each beside mask.path, such as mask_30.",
        flag="--sweep",
        low=0,
        high=1,
    ),
    _stage(
        "mask.mapping",
        TEXT,
        "norank",
        "How scores are mapped to [0, 1]: norank scales them, the others take ranks and differ in how they treat ties.",
        choices=("norank", "min", "dense", "ordinal", "argsort"),
    ),
    _stage(
        "mask.scope",
        TEXT,
        "global",
        "Whether scores are mapped over the whole network or layer by layer.",
        choices=("global", "layer"),
    ),
    _stage(
        "mask.granularity",
        TEXT,
        "neuron",
        "Whether neurons are chosen one by one, or those of a convolution's channel together.",
        choices=("neuron", "channel"),
    ),
    _stage("mask.gamma", FLOAT, 2.0, "Weight of instability against significance, for the preset fixed.", low=0),
    _stage("mask.stages", INTEGER, 100, "Steps in which gamma falls, for the preset paper.", low=1),
    _stage("mask.layer_cap", FLOAT, None, "Largest share of one layer that may be grafted.", low=0, high=1),
    _stage("mask.seed", INTEGER, 100, "Seed of the preset random.", low=0, high=2**32 - 1),
    _stage("mask.path", PATH, None, "File that receives the mask."),
    _stage("tune.epochs", INTEGER, 100, "Passes over the training images.", low=0),
    _stage("tune.batch_size", INTEGER, 128, "Images of one step.", low=1),
    _stage("tune.lr", FLOAT, 1e-3, "Learning rate of the weights at the start.", low=0),
    _stage("tune.warmup", FLOAT, 0.0, "Epochs over which the learning rates rise from 0.", low=0),
    _stage("tune.slope_lr", FLOAT, 0.01, "Learning rate of slopes and intercepts at the start.", low=0),
    _stage("tune.momentum", FLOAT, 0.9, "Momentum of the optimiser.", low=0, high=1),
    _stage("tune.weight_decay", FLOAT, 5e-4, "Weight decay of the weights; slopes and intercepts have none.", low=0),
    _stage("tune.gradalign", FLOAT, 0.2, "Weight of the GradAlign term of fat; 0 switches it off.", low=0),
    _stage("tune.freeze_weights", BOOLEAN, False, "Tune slopes and intercepts only.", flag="--freeze_weights"),
    _stage(
        "tune.prune",
        BOOLEAN,
        False,
        "Prune instead: slopes and intercepts are 0 whatever tune.slope says, and stay so; only the weights learn.",
    ),
    _stage(
        "tune.slope_decay",
        FLOAT,
        0.0,
        "L2 penalty that draws slopes to slope_target, in the unit of weight_decay.",
        low=0,
    ),
    _stage("tune.slope_target", FLOAT, 0.0, "Slope that slope_decay draws to."),
    _stage(
        "tune.relu_stability",
        FLOAT,
        0.0,
        "Weight of a term that rewards neurons that are stable by interval bounds, among those not grafted.",
        low=0,
    ),
    _stage("tune.slope", FLOAT, 0.4, "Slope that grafted neurons start from."),
    _stage("tune.intercept", FLOAT, 0.0, "Intercept that grafted neurons start from."),
    _stage("tune.checkpoint", PATH, None, "File that receives the grafted and tuned network."),
    _stage("evaluate.pgd_steps", INTEGER, 100, "Gradient steps of the attack that measures robust accuracy.", low=0),
    _stage("evaluate.pgd_restarts", INTEGER, 1, "Random starts of that attack.", low=1),
    _stage("evaluate.pgd_step", FLOAT, 2.5, "Step of that attack, in units of epsilon / pgd_steps.", low=0),
    _stage("evaluate.limit", INTEGER, None, "Number of test images used; null is all.", low=1),
    _stage("export.dir", PATH, None, "Folder that receives the benchmark: onnx, vnnlib and instances.csv."),
    _stage(
        "export.name",
        TEXT,
        None,
        "Name of the network's file and of its properties; that of the configuration's file if it is not set.",
    ),
    _stage(
        "export.normalization",
        TEXT,
        "inside",
        "Whether the network takes pixels and normalises them inside, or takes inputs normalised outside.",
        choices=("inside", "outside"),
    ),
    _stage("export.opset", INTEGER, 9, "Version of ONNX's operators in the file.", low=9, high=22),
    _stage("pipeline.output", PATH, "runs", "Folder that receives the files of every stage."),
    _stage(
        "pipeline.baseline",
        PATH,
        None,
        "Folder that receives what belongs to the plain network, which several runs may share; null is "
        "pipeline.output.",
    ),
    _stage(
        "pipeline.networks",
        TEXT,
        "both",
        "Networks to make and measure: the plain and the grafted one, or the plain one alone.",
        choices=("both", "baseline"),
    ),
    _stage("pipeline.label", TEXT, None, "Name of the run in tables; made of its method and ratio if it is not set."),
    _stage(
        "report.path",
        PATH,
        None,
        "File that receives the report: .html with plots (.md and .csv of that name beside it), .md or .csv alone.",
    ),
)
