"""What a forward pass takes from outside the module and its input, told by name.

A traced module is the module only if its forward pass is a function of the input and the weights. The calls that its
Python code makes are watched while it is traced (`sys.setprofile`): those that draw random numbers, read the clock,
the environment or a file, or read or set what torch is set to. Code that assigns variables outside of it is told too.
"""

from __future__ import annotations

import dis
import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy as np

_MODULES = {
    "random": "draws random numbers",
    "_random": "draws random numbers",
    "secrets": "draws random numbers",
    "uuid": "draws random numbers",
    "torch.random": "depends on the state of torch's random numbers",
    "torch.cuda.random": "depends on the state of torch's random numbers",
    "time": "depends on the time",
    "datetime": "depends on the time",
    "os": "depends on the process and its environment",
    "posix": "depends on the process and its environment",
    "nt": "depends on the process and its environment",
    "io": "reads or writes a file",
    "_io": "reads or writes a file",
    "torch.serialization": "reads or writes a file",
    "torch.amp.autocast_mode": "changes the precision of what follows",
}
"""What calling a function of a module means, by the module's name."""

_SETTINGS = {
    *("get_default_dtype", "set_default_dtype", "get_default_device", "set_default_device"),
    *("get_num_threads", "set_num_threads", "get_float32_matmul_precision", "set_float32_matmul_precision"),
    *("is_grad_enabled", "is_inference_mode_enabled", "is_autocast_enabled", "is_autocast_cpu_enabled"),
    *("get_autocast_dtype", "set_autocast_enabled", "use_deterministic_algorithms", "set_flush_denormal"),
    *("are_deterministic_algorithms_enabled", "is_available", "device_count", "current_device"),
}
"""Functions of torch that read or set what it is set to, or what the machine has."""

_TRUSTED = {"torch", *sys.stdlib_module_names}
"""Packages whose own calls are no calls of the forward pass; `torch` operations are watched in `purity.py`."""
_BETWEEN = ("collections.abc", "torch._dynamo", "torch._compile")
"""Implement the rest of `os.environ`, and decorators of functions of torch; their caller is who asks."""
_EVERYWHERE = {"torch.amp.autocast_mode"}
"""Modules that torch itself calls for a decorated forward pass."""


@dataclass
class Findings:
    """What was called, in words; the first is what a message tells."""

    found: list[str] = field(default_factory=list)


@contextmanager
def watched_calls(findings: Findings) -> Iterator[None]:
    """Watches the calls in its body; at its end, `findings` are complete.

    A profiler that is running is paused; one that is a function comes back. No garbage is collected meanwhile: what
    that calls is nobody's forward pass.
    """
    watch = sys.getprofile()
    states = _random_states()
    seen: set[CodeType] = set()
    pause, go_on = getattr(watch, "disable", None), getattr(watch, "enable", None)
    collecting = gc.isenabled()
    gc.disable()
    if pause is not None:
        pause()
    sys.setprofile(lambda frame, event, called: _see(frame, event, called, findings.found, seen))
    try:
        yield
    finally:
        sys.setprofile(watch if callable(watch) else None)
        if go_on is not None:
            go_on()
        if collecting:
            gc.enable()
        after = _random_states()
        findings.found += [f"{name} draws random numbers" for name in states if after[name] != states[name]]


def _random_states() -> dict[str, object]:
    """Of the generators that everybody shares; numpy's functions are not seen when they are called."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {"random": random.getstate(), "numpy.random": (kind, np.asarray(keys).tobytes(), *rest)}


def _see(frame: FrameType, event: str, called: Any, found: list[str], seen: set[CodeType]) -> None:
    """Takes in one call; see `sys.setprofile` for the arguments."""
    if event == "call":
        module, function, caller = _module(frame), frame.f_code.co_name, frame.f_back
        if _root(module) not in _TRUSTED and frame.f_code not in seen:
            seen.add(frame.f_code)
            found.extend(f"{function} assigns {name}" for name in _assigned_outside(frame.f_code))
    elif event == "c_call":
        module, function, caller = _owner(called), called.__name__, frame
    else:
        return
    while caller is not None and _module(caller).startswith(_BETWEEN):
        caller = caller.f_back
    if caller is None or (_root(_module(caller)) in _TRUSTED and module not in _EVERYWHERE):
        return
    meaning = _MODULES.get(module)
    if meaning is None and _root(module) == "torch" and function in _SETTINGS:
        meaning = "depends on what torch is set to, or on the machine"
    if meaning is not None and not function.startswith("<"):
        found.append(f"{module}.{function} {meaning}")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _root(module: str) -> str:
    return module.partition(".")[0]


def _owner(called: Any) -> str:
    """The module that a built-in function belongs to: its own, or that of the class it is a method of."""
    owner = getattr(called, "__self__", None)
    if isinstance(owner, ModuleType):
        return owner.__name__
    if owner is not None:
        return str((owner if isinstance(owner, type) else type(owner)).__module__)
    return str(getattr(called, "__module__", "") or "")


def _assigned_outside(code: CodeType) -> Iterator[str]:
    """The variables of others that a function's code assigns."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield f"the global variable {instruction.argval!r}"
        elif instruction.opname == "STORE_DEREF" and instruction.argval in code.co_freevars:
            yield f"the variable {instruction.argval!r} of the function around it"
