"""Why α,β-CROWN's process failed, in one line."""

from __future__ import annotations

import re
import traceback


def one_line(error: BaseException) -> str:
    """Kind and message of an exception; that of Gurobi's, where α,β-CROWN fails to pass it on."""
    gurobi = re.search(r"GurobiError: (.+)", "".join(traceback.format_exception(error)))
    return " ".join((f"Gurobi: {gurobi[1]}" if gurobi else f"{type(error).__name__}: {error}").split())
