"""The training methods, one file each; importing this package registers them in the order of `--help`."""

from __future__ import annotations

# isort: off
from abcrown_graft.training.methods import fat  # noqa: F401
from abcrown_graft.training.methods import pgd  # noqa: F401
from abcrown_graft.training.methods import trades  # noqa: F401
from abcrown_graft.training.methods import certified  # noqa: F401
