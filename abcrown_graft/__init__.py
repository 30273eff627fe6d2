"""Linearity grafting for complete neural-network verification."""

from pathlib import Path

__version__ = "0.2.0"

_CHECKOUT = Path(__file__).resolve().parents[1]
if (_CHECKOUT / "setup.cfg").is_file():
    # Installed, model_defs, exp_configs and scripts are parts of this package; in a checkout they lie beside it.
    __path__.append(str(_CHECKOUT))
