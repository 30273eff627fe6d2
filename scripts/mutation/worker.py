"""Runs pytest in a copy of the checkout, once it is certain that the copy's modules are what is tested.

    python worker.py COPY MODULE PYTEST_ARGUMENT ...

The exit code is pytest's, or NOT_IMPORTED if the module does not import or is not the copy's.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

NOT_IMPORTED = 70


def main(copy: str, module: str, *arguments: str) -> int:
    """Imports, then tests."""
    try:
        found = importlib.import_module(module).__file__
    except Exception:
        traceback.print_exc()
        return NOT_IMPORTED
    if found is None or not Path(found).resolve().is_relative_to(Path(copy).resolve()):
        print(f"{module} comes from {found}, not from the copy", file=sys.stderr)
        return NOT_IMPORTED
    return _tested(arguments)


def _tested(arguments: tuple[str, ...]) -> int:
    """pytest's exit code."""
    import pytest

    class Hypothesis:
        """Does not spend time on making failures smaller."""

        @pytest.hookimpl(tryfirst=True)
        def pytest_configure(self) -> None:
            """Files the profile before the command line's is looked up."""
            from hypothesis import HealthCheck, Phase, settings

            settings.register_profile(
                "mutation",
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
                phases=[Phase.explicit, Phase.generate],
                database=None,
                report_multiple_bugs=False,
            )

    return int(pytest.main(["--hypothesis-profile=mutation", *arguments], plugins=[Hypothesis()]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
