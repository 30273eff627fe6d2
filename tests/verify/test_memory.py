"""What counts as memory that ran out."""

from __future__ import annotations

import pytest
import torch

from abcrown_graft.verify.memory import is_out_of_memory, release_memory

# As torch words them.
RAN_OUT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."),
]
OTHERS = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"),
    ValueError("CUDA error: out of memory"),
    KeyError("memory"),
]


@pytest.mark.parametrize("error", RAN_OUT, ids=str)
def test_memory_that_ran_out_is_told_from_its_error(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_any_other_error_is_none_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_what_only_a_cycle_holds_is_freed() -> None:
    freed = []

    class Held:
        def __del__(self) -> None:
            freed.append(True)

    held = Held()
    held.itself = held
    del held
    release_memory(torch.device("cpu"))
    assert freed
