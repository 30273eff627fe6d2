"""`python -m abcrown_graft.config` writes the documentation of the options to the standard output."""

from __future__ import annotations

import sys

from abcrown_graft.config.document import document_options

if __name__ == "__main__":
    sys.stdout.buffer.write(document_options().encode())
