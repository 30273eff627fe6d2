"""Telling that memory ran out, and giving back what is not used."""

from __future__ import annotations

import gc

import torch

# torch raises a plain RuntimeError where the CPU's allocator, cuBLAS or CUDA itself finds no memory.
OUT_OF_MEMORY_WORDS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the GPU or the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY_WORDS)


def release_memory(device: torch.device) -> None:
    """Frees what only exceptions and cycles still hold, and the GPU's cached blocks."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
