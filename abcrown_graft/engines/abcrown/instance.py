"""Runs α,β-CROWN on one image after another and takes from it what it does not write to any file itself.

Imported in its process only, when its folders are on the path. Each image gets a run of its own (`ABCROWN(...).main()`)
with the same seeds, so verdicts depend neither on the order of the images nor on where an interrupted run goes on.
"""

from __future__ import annotations

import functools
import gc
import math
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import abcrown
import arguments
import beta_CROWN_solver
import torch
from attack import check_and_save_cex
from torch import Tensor

from abcrown_graft.assembly.options import GeneralOptions
from abcrown_graft.config.schema import SCHEMA
from abcrown_graft.engines.abcrown import capture
from abcrown_graft.engines.abcrown.failure import one_line
from abcrown_graft.engines.abcrown.job import ABCROWN_CONFIG, FINDING_KIND, LAST, Job, Task
from abcrown_graft.engines.abcrown.nan import refuse_nan
from abcrown_graft.engines.abcrown.statuses import LATE
from abcrown_graft.engines.abcrown.subject import check_outputs, dataset_name, instance, network
from abcrown_graft.files import save_tensors
from abcrown_graft.verify.memory import is_out_of_memory

OWN_SECTIONS = ("graft.", "instability.")


class Verifier(abcrown.ABCROWN):
    """α,β-CROWN that remembers whether its bounds left the instance open."""

    left_open = False

    def incomplete_verifier(self, model_ori: Any, interm_bounds: Any = None) -> tuple[str, dict[str, Any]]:
        """As in the base class, which calls it once for each instance that no attack has decided."""
        status, result = super().incomplete_verifier(model_ori, interm_bounds)
        self.left_open = status == "unknown"
        return status, result


class Host:
    """One process's α,β-CROWN, made ready for a job.

    Raises:
        ModelError: the network that α,β-CROWN gets is not the one that the job was made for.
        AbcrownGraftError: it cannot be loaded.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._unstable: capture.Instability | None = None
        self._example: Tensor | None = None
        self._lower: float | None = None
        if job.config.settings(GeneralOptions).double_fp:
            torch.set_default_dtype(torch.float64)
        declare_own_options(arguments.Config)
        refuse_nan()
        check_outputs(str(job.folder))
        _replace_everywhere(check_and_save_cex, self._remember_example(check_and_save_cex))
        beta_CROWN_solver.LiRPANet.build = self._remember_bound(beta_CROWN_solver.LiRPANet.build)
        if any(task.count for task in job.tasks):
            capture.watch_bounds(self._remember_unstable, job.method)

    def attempt(self, task: Task) -> dict[str, Any]:
        """The report on a task: what was found, or the error.

        `last` in it says that this process can do no more: an error of CUDA's leaves it unusable.
        """
        start = time.perf_counter()
        try:
            report, broken = self._do(task), False
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            seconds = time.perf_counter() - start
            report = {"error": one_line(error), "out_of_memory": is_out_of_memory(error), "seconds": seconds}
            broken = is_broken(error)
        broken = not _free() or broken
        return {**report, LAST: True} if broken else report

    def _do(self, task: Task) -> dict[str, Any]:
        self._unstable = self._example = self._lower = None
        folder = self._job.folder
        words = ("--config", str(folder / ABCROWN_CONFIG), "--dataset", dataset_name(folder, task.row))
        verifier = Verifier(args=list(words))
        arguments.Config.file = self._job.config_file or arguments.Config.file  # relative names start from its folder
        report = self._verified(verifier) if task.verify else {}
        tensors: dict[str, Tensor] = {} if self._example is None else {"counterexample": self._example}
        if task.count and (verifier.left_open or not task.only_open):
            tensors |= {f"unstable/{site}": flags for site, flags in self._counted(task).items()}
        if tensors:
            save_tensors(self._job.finding(task.index), FINDING_KIND, tensors, {"index": task.index})
        return report

    def _verified(self, verifier: Verifier) -> dict[str, Any]:
        verifier.main()
        results = verifier.logger.status_per_sample_list
        if len(results) != 1:
            raise RuntimeError(f"α,β-CROWN gave {len(results)} verdicts for one image")
        (status, seconds), lower = results[0], self._lower
        later = status.startswith("safe") and status.removesuffix(LATE) != "safe-incomplete"
        if later and not (lower is not None and math.isnan(lower)):
            lower = None  # that of the first bounds, which did not prove it
        timeout = float(arguments.Config["bab"]["timeout"])
        return {"status": status, "seconds": seconds, "lower": lower, "timeout": timeout}

    def _counted(self, task: Task) -> capture.Instability:
        """Instability by the method asked for, from the run's own bounds where these are by that method."""
        used, method = arguments.Config["solver"]["bound_prop_method"], self._job.method
        if self._unstable is not None and used in ("alpha-crown", method):
            return self._unstable
        model = network(str(self._job.folder)).to(arguments.Config["general"]["device"])
        image = instance(str(self._job.folder), task.row, {})
        lower, upper = (image[name].to(torch.get_default_dtype()) for name in ("data_min", "data_max"))
        return capture.bounds_of(model, lower, upper, method)

    def _remember_unstable(self, unstable: capture.Instability) -> None:
        self._unstable = unstable

    def _remember_example(self, check: Callable[..., Any]) -> Callable[..., Any]:
        """Every counterexample of α,β-CROWN's goes through this function of its."""

        @functools.wraps(check)
        def remembering(adv_input: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._example = adv_input.detach().reshape(-1).cpu()
            return check(adv_input, *args, **kwargs)

        return remembering

    def _remember_bound(self, build: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(build)
        def remembering(*args: Any, **kwargs: Any) -> Any:
            result = build(*args, **kwargs)
            self._lower = _smallest(result[0])
            return result

        return remembering


def is_broken(error: BaseException) -> bool:
    """Whether an exception says that CUDA failed, other than for want of memory."""
    failed = isinstance(error, RuntimeError) and any(words in str(error) for words in ("CUDA error", "cuDNN error"))
    return failed and not is_out_of_memory(error)


def _free() -> bool:
    """Frees the memory of a task; False if CUDA fails even at that."""
    gc.collect()
    try:
        torch.cuda.empty_cache()
    except RuntimeError:
        traceback.print_exc()
        return False
    return True


def _smallest(bounds: Tensor | None) -> float | None:
    """The smallest margin's bound, NaN if any is; None if it is not known.

    Margins that CROWN has proved drop out of the optimisation, and α,β-CROWN leaves an infinite bound in their place:
    a positive smallest one of the others says nothing about them.
    """
    if bounds is None:
        return None
    if bool(bounds.isnan().any()):
        return math.nan
    smallest = float(bounds.min())
    return None if smallest > 0 and bool(bounds.isinf().any()) else smallest


def declare_own_options(config: Any) -> None:
    """Adds our sections to α,β-CROWN's configuration (`arguments.Config`), which refuses keys that it does not know."""
    for option in SCHEMA.values():
        if option.of_engine and option.key.startswith(OWN_SECTIONS):
            text = option.help.replace("%", "%%")
            config.add_argument(option.flag, default=option.default, help=text, hierarchy=option.key.split("."))
    config.default_args = vars(config.defaults_parser.parse_args([]))


def _replace_everywhere(function: Callable[..., Any], other: Callable[..., Any]) -> None:
    """Puts a function in another's place in every module that has imported it by name."""
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is function:
                setattr(module, name, other)
