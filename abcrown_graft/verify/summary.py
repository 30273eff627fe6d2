"""The summary at the end of a run, in α,β-CROWN's words and order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from abcrown_graft.verdict import InstanceResult, Verdict


def summary_lines(results: Sequence[InstanceResult]) -> list[str]:
    """The lines to print.

    As in α,β-CROWN, accuracy is verified / all instances, a misclassified image counts as
    falsified, and `timeout` counts every undecided instance. Instances that ran out of memory or
    failed are undecided too, and named in lines of their own. `index` is the number of the image in its data set.
    """
    total = len(results)
    safe = [r for r in results if r.verdict is Verdict.VERIFIED]
    unsafe = [r for r in results if r.verdict is Verdict.FALSIFIED]
    undecided = [r for r in results if r.verdict not in (Verdict.VERIFIED, Verdict.FALSIFIED)]
    accuracy = 100.0 * len(safe) / total if total else 0.0
    lines = [
        "############# Summary #############",
        f"Final verified acc: {accuracy}% (total {total} examples)",
        f"Problem instances count: {total} , total verified (safe/unsat): {len(safe)} , "
        f"total falsified (unsafe/sat): {len(unsafe)} , timeout: {len(undecided)}",
    ]
    groups = (
        ("ALL instances (total {}):", results),
        ("verified SAFE instances(total {}): ", safe),
        ("verified (SAFE + UNSAFE) instances (total {}): ", [*safe, *unsafe]),
        ("verified SAFE + TIMEOUT instances (total {}): ", [*safe, *undecided]),
        ("verified UNSAFE instances (total {}): ", unsafe),
    )
    lines += [_mean_time(words, group) for words, group in groups if group]
    by_status: dict[str, list[int]] = defaultdict(list)
    for result in results:
        by_status[result.status].append(result.index)
    lines += [f"{status} (total {len(found)}), index: {found}" for status, found in by_status.items()]
    return lines


def _mean_time(words: str, group: Sequence[InstanceResult]) -> str:
    times = [result.seconds for result in group]
    return f"mean time for {words.format(len(group))}{sum(times) / len(times)}, max time: {max(times)}"
