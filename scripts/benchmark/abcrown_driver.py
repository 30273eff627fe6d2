"""Runs α,β-CROWN as it is and notes its verdicts: `python abcrown_driver.py CONFIG INSTANCES.npz RESULTS.jsonl`.

It runs in a process of its own, whose path holds α,β-CROWN's and auto_LiRPA's folders. A line of RESULTS.jsonl is
appended and synced as soon as an image is done, with the time that α,β-CROWN itself reports.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import abcrown
import arguments
import numpy as np
import torch
from abcrown_network import instances
from loading import load_model

from abcrown_graft.files import append_record

TOLERANCE = 1e-3  # of outputs; float32 in another order of operations


def check_outputs(path: str) -> None:
    """Raises SystemExit unless α,β-CROWN's model says about its images what ours says about ours."""
    ours = torch.from_numpy(np.load(path, allow_pickle=False)["outputs"])
    data = instances(path, arguments.Config["specification"])
    with torch.no_grad():
        theirs = load_model()(data["X"])
    difference = float((theirs - ours).abs().max())
    if not torch.equal(theirs.argmax(1), ours.argmax(1)) or difference > TOLERANCE:
        raise SystemExit(f"the two models differ by {difference:.2e} on the clean images")
    print(f"outputs on the clean images agree within {difference:.2e}")


def main(config: str, path: str, results: Path) -> None:
    """Verifies the instances."""
    indices, labels = (np.load(path, allow_pickle=False)[name].tolist() for name in ("indices", "labels"))

    class Logger(abcrown.Logger):
        def summarize_results(self, verified_status: str, index: int) -> None:
            super().summarize_results(verified_status, index)
            status, seconds = self.status_per_sample_list[-1]
            append_record(results, {"index": indices[index], "label": labels[index], **_verdict(status, seconds)})

    abcrown.Logger = Logger
    verifier = abcrown.ABCROWN(args=["--config", config])
    check_outputs(path)
    verifier.main()


def _verdict(status: str, seconds: float) -> dict[str, Any]:
    """Its words: `safe...`, `unsafe...`, `unknown...`; a proof that came late counts, as in its own summary."""
    verdicts = {"safe": "verified", "unsafe": "falsified"}
    return {"verdict": verdicts.get(status.split()[0].split("-")[0], "unknown"), "status": status, "seconds": seconds}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
