"""Freed memory is used again without new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ALLOCATE = """
import resource, torch
from abcrown_graft.training.allocator import keep_freed_memory
kept = {call}
for _ in range(6):
    torch.ones(16 * 2**18)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(16 * 2**18)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(call: str) -> tuple[str, int]:
    """What the call said, and the pages that 8 tensors of 16 MiB needed one after the other."""
    code = [sys.executable, "-c", ALLOCATE.format(call=call)]
    said, count = subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()
    return said, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_tensors_need_no_new_pages() -> None:
    said, count = pages("keep_freed_memory()")
    assert said == "True" and count < 200
    assert pages("None")[1] > 10 * 200
