"""From names and files to a model that is ready to be bounded: built, loaded, grafted, normalised."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from abcrown_graft.errors import MaskError, ModelError
from abcrown_graft.files import LEGACY_SUFFIXES
from abcrown_graft.masks.identity import ModelIdentity
from abcrown_graft.masks.legacy import convert_grafted_state, is_grafted_state, legacy_mask
from abcrown_graft.masks.mask import GraftMask, as_boolean
from abcrown_graft.models.agreement import check_agreement, spread
from abcrown_graft.models.build import build_model
from abcrown_graft.models.checkpoint import apply_state_dict, fit_keys, load_state_dict
from abcrown_graft.models.weights import find_file
from abcrown_graft.network import operators as op
from abcrown_graft.network.fingerprint import architecture_fingerprint, weights_fingerprint
from abcrown_graft.network.graph import Network
from abcrown_graft.network.normalize import with_normalization
from abcrown_graft.network.trace import as_executed, from_module
from abcrown_graft.nn.normalize import Normalize
from abcrown_graft.nn.surgery import graft, grafted_modules

PROBES, IMAGES = 3, 8  # random images, and images of a run, at which module and graph are compared


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from; the names are those of the configuration.

    Files under `model_defs/` are found from any directory, see `weights.find_file`.

    Attributes:
        name: `model.name`.
        path: `model.path`, a plain or grafted checkpoint; None leaves the weights as they are built.
        input_shape: `model.input_shape`, without batch; None takes the definition's.
        mean, std: `data.mean`, `data.std`.
        checkpoint: `graft.checkpoint`, a grafted checkpoint; it replaces `path`.
        mask, slope, intercept: `graft.mask` and the values that neurons grafted by it start from.
        folders: where a `Customized` file is looked up.
        hint: how to make a missing checkpoint, for messages.
        plain: the network is one to start grafting from, so a grafted checkpoint is refused.
    """

    name: str
    path: Path | None = None
    input_shape: tuple[int, ...] | None = None
    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0
    checkpoint: Path | None = None
    mask: Path | None = None
    slope: float = 0.4
    intercept: float = 0.0
    folders: Sequence[Path] = ()
    hint: str | None = None
    plain: bool = False


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in two forms.

    Attributes:
        core: the module without normalisation; what checkpoints hold.
        module: `core` behind the normalisation: takes pixels in [0, 1].
        network: the same function as `module`, as a graph in float32.
        exact: the same in float64, with batch norm and normalisation folded in float64.
        executed: the same in float64, with an operator for every step that the module takes.
        identity: of `core`; what masks and dumps are checked against.
        input_shape: of one image.
    """

    core: nn.Module
    module: nn.Module
    network: Network
    exact: Network
    executed: Network
    identity: ModelIdentity
    input_shape: tuple[int, ...]

    @property
    def grafted(self) -> dict[str, int]:
        """The number of grafted neurons of every site."""
        return {site: int(self.network.grafted_mask(site).sum()) for site in self.network.sites}


def load_model(source: ModelSource) -> LoadedModel:
    """Builds the model, fills in the weights, grafts it, and puts the normalisation in front.

    Raises:
        ModelError: the definition or checkpoint cannot be used, grafted where a plain network is wanted for one, or a
            weight is not finite.
        MaskError: the mask belongs to another model, or is not the one in the checkpoint.
        FileFormatError: the checkpoint is damaged, or the mask's file is missing, damaged or of another kind.
        ConfigError: mean or standard deviation do not fit the input.
    """
    core, defined = build_model(source.name, source.folders)
    shape = _input_shape(source, defined)
    weights = source.checkpoint or source.path
    if weights is not None:
        key = "graft.checkpoint" if source.checkpoint else "model.path"
        core = load_weights(core, shape, find_file(weights), source.hint, key)
        if source.checkpoint is not None and not grafted_modules(core):
            raise ModelError(f"graft.checkpoint: {source.checkpoint}: not a grafted checkpoint; name it in model.path")
        if source.plain and grafted_modules(core):
            advice = "this starts from the plain network: name that, and to verify this one name it in graft.checkpoint"
            raise ModelError(f"{key}: {weights}: a grafted checkpoint; {advice}")
    if source.mask is not None:
        core = _grafted_by(core, shape, find_file(source.mask), source.slope, source.intercept)
    return prepare(core, shape, source.mean, source.std)


def prepare(
    core: nn.Module, shape: tuple[int, ...], mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0
) -> LoadedModel:
    """A module with its normalisation, graph and identity; it is put in evaluation mode.

    Args:
        core: the module without normalisation.
        shape: of one input, without batch.
        mean, std: of the normalisation, one number or one per channel.

    Raises:
        ModelError: it does not take inputs of that shape, holds a weight that is not finite or not float32, its
            graph computes something else, or it rounds more than its margins, see `check_agreement`.
        UnsupportedError: it has an operation without a rule, or depends on more than image and weights, see
            `from_module`.
        ConfigError: there are neither one nor as many entries of mean or std as channels.
    """
    core.eval()
    _check_precision(core)
    double = copy.deepcopy(core).double()
    plain = from_module(double, shape)
    identity = identify(plain.to(dtype=torch.float32))
    _check_finite(plain)
    normalize = Normalize(mean, std, shape[0] if len(shape) == 3 else 1)
    exact, executed = (
        with_normalization(network, normalize.mean, normalize.std) for network in (plain, as_executed(double, shape))
    )
    module = nn.Sequential(normalize, core).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(PROBES, *shape, generator=generator)
    check_agreement(module, exact, executed, images, "random images")
    return LoadedModel(core, module, exact.to(dtype=torch.float32), exact, executed, identity, shape)


def check_images(loaded: LoadedModel, images: Tensor) -> None:
    """Compares module and graph on some images of a run, `(n, *shape)`, as `prepare` does on random ones.

    Raises:
        ModelError: see `check_agreement`.
    """
    check_agreement(loaded.module, loaded.exact, loaded.executed, spread(images, IMAGES), "images of the run")


def identify(network: Network) -> ModelIdentity:
    """The identity of a network (without its normalisation)."""
    return ModelIdentity(architecture_fingerprint(network), weights_fingerprint(network), dict(network.sites))


def load_weights(
    core: nn.Module, shape: tuple[int, ...], path: Path, hint: str | None = None, key: str = "model.path"
) -> nn.Module:
    """`core` with the weights of a checkpoint; a grafted copy of it if the checkpoint is grafted.

    Args:
        core: as `build_model` makes it, without grafts; changed in place by a plain checkpoint.
        shape: of one input.
        path: any file that `checkpoint.load_state_dict` reads, plain or grafted (also by the published code).
        hint: how to make the file, for the message if it is missing.
        key: the configuration key that named the file, for messages.

    Raises:
        ModelError: the file is missing or does not fit the model.
        MaskError: a mask in the file does not fit the model.
        FileFormatError: the file is damaged.
    """
    state, _ = load_state_dict(path, key=key, hint=hint)
    state = fit_keys(state, core)
    sites = from_module(core, shape).sites
    if is_grafted_state(state):
        state = convert_grafted_state(state, list(sites), core.state_dict())
    masks = {site: state[f"{site}.mask"] for site in sites if f"{site}.mask" in state}
    if masks:
        core = _grafted_like(core, sites, masks, path)
    apply_state_dict(core, state, path)
    return core


def _grafted_like(
    core: nn.Module, sites: Mapping[str, tuple[int, ...]], masks: Mapping[str, Tensor], path: Path
) -> nn.Module:
    """A copy of `core` with the masks of a checkpoint."""
    for site, mask in masks.items():
        if tuple(mask.shape) != sites[site]:
            raise MaskError(f"{path}: the mask of site {site!r} is {tuple(mask.shape)}, the model's is {sites[site]}")
    return graft(core, {site: as_boolean(mask, f"{path}: {site}.mask") for site, mask in masks.items()})


def _grafted_by(core: nn.Module, shape: tuple[int, ...], path: Path, slope: float, intercept: float) -> nn.Module:
    """`core` grafted by the mask in a file; a core that is grafted already must have that mask."""
    network = from_module(core, shape)
    masks = read_mask(path, identify(network)).masks
    if not grafted_modules(core):
        return graft(core, masks, slope, intercept)
    for site, mask in masks.items():
        if not torch.equal(network.grafted_mask(site).cpu(), mask):
            raise MaskError(f"graft.mask: {path}: differs from the mask in the checkpoint at site {site!r}")
    return core


def read_mask(path: Path, model: ModelIdentity) -> GraftMask:
    """The mask in a file, this package's or the published list of tensors, checked against a model.

    Raises:
        MaskError: it is the mask of another model.
        FileFormatError: the file is missing, damaged or of another kind.
    """
    if path.suffix in LEGACY_SUFFIXES:
        return legacy_mask(path, model)
    mask = GraftMask.load(path)
    mask.check(model, str(path))
    return mask


def _input_shape(source: ModelSource, defined: tuple[int, ...] | None) -> tuple[int, ...]:
    given = source.input_shape
    if given is not None and defined is not None and given != defined:
        raise ModelError(f"model.input_shape: {given} given, but {source.name} takes {defined}")
    shape = defined if given is None else given
    if shape is None:
        raise ModelError(f"model.input_shape: not set, and {source.name} does not say; set it, e.g. [-1, 3, 32, 32]")
    return shape


def _check_precision(core: nn.Module) -> None:
    for name, tensor in (*core.named_parameters(), *core.named_buffers()):
        if tensor.is_meta:
            raise ModelError(f"the model's {name} has no values (meta device); build it on the CPU")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ModelError(f"the model's {name} is {tensor.dtype}, expected torch.float32; convert it with .float()")


def _check_finite(network: Network) -> None:
    for node in network.nodes:
        for name, value in vars(node.operator).items():
            if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
                kind = "" if isinstance(node.operator, op.Activation) else f" ({type(node.operator).__name__})"
                raise ModelError(f"the model's {name} at {node.name}{kind} has NaN or infinite entries; train it again")
