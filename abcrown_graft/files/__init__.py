"""Files that survive a crash, and readers that no file can hang, exhaust or crash.

Whatever the package reads goes through `read` (or, where another library opens the file, through its `check_regular`
and `archive`): regular files only, of a limited size and nesting.
"""

from abcrown_graft.files.archive import check_archive
from abcrown_graft.files.read import (
    GZIP_MAGIC,
    Limit,
    check_regular,
    gunzip,
    parse_json,
    read_bytes,
    read_text,
    sha256,
)
from abcrown_graft.files.tensors import HEADER, LEGACY_SUFFIXES, load_tensors, read_safetensors, save_tensors
from abcrown_graft.files.write import append_record, check_writable, keep_aside, replace_keeping, write_atomically

__all__ = [
    "GZIP_MAGIC",
    "HEADER",
    "LEGACY_SUFFIXES",
    "Limit",
    "append_record",
    "check_archive",
    "check_regular",
    "check_writable",
    "gunzip",
    "keep_aside",
    "load_tensors",
    "parse_json",
    "read_bytes",
    "read_safetensors",
    "read_text",
    "replace_keeping",
    "save_tensors",
    "sha256",
    "write_atomically",
]
