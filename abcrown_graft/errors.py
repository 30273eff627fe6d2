"""The exceptions a user can cause; every message names the file, the key and the value.

The command lines print the message of an `AbcrownGraftError` as one line on stderr and exit
with code 2. Anything else that escapes is a defect of this package.
"""

from __future__ import annotations


class AbcrownGraftError(Exception):
    """Base of every error that the user can mend."""


class ConfigError(AbcrownGraftError):
    """An unknown key or flag, a value of the wrong type, an option out of range."""


class DataError(AbcrownGraftError):
    """A data set that is missing, malformed or does not fit the model."""


class ModelError(AbcrownGraftError):
    """A model definition or checkpoint that cannot be used."""


class MaskError(AbcrownGraftError):
    """A mask that does not belong to the model it is applied to."""


class FileFormatError(AbcrownGraftError):
    """A file that is truncated, damaged or of another kind than expected."""


class UnsupportedError(AbcrownGraftError):
    """Something this package knows of but does not implement."""


class OutputError(AbcrownGraftError):
    """A file that cannot be written."""


class SettingsDifferError(AbcrownGraftError):
    """Results or statistics that were made with other settings than the ones to be added."""


class EngineError(AbcrownGraftError):
    """A verifier of its own process that is missing, incomplete, too old, or does not start."""
