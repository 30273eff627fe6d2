"""`abcrown-graft run` with several files: one table, one joint report."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import MINIATURE, Finished, run_main

from abcrown_graft.cli.tools import main

QUICK = "train: {epochs: 1, limit: 100}\ntune: {epochs: 1}\ndata: {end: 2}\nevaluate: {limit: 10}\n"


def run(folder: Path, *words: str) -> Finished:
    return run_main(main, "run", folder / "rows", "--root_path", folder, "--device", "cpu", *words)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A folder with two rows over common files."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "miniature.yaml").write_text(MINIATURE)
    (tmp_path / "common.yaml").write_text(f"include: miniature.yaml\n{QUICK}pipeline: {{baseline: base}}\n")
    for ratio in (30, 50):
        text = f"include: ../common.yaml\npipeline: {{output: graft{ratio}}}\nmask: {{ratio: {ratio / 100}}}\n"
        (tmp_path / "rows" / f"graft{ratio}.yaml").write_text(text)
    return tmp_path


def test_one_table_and_one_joint_report(rows: Path) -> None:
    found = run(rows, "--report_path", "joint.md")
    assert (found.code, found.err) == (0, "")
    table = found.out.partition("Before and after grafting")[2]
    assert [table.count(name) for name in ("baseline", "grafting 30 %", "grafting 50 %")] == [1, 1, 1]
    assert table.rstrip().endswith(f"report: {(rows / 'joint.md').resolve()}")
    joint = (rows / "joint.md").read_text()
    assert all(f"| {name} |" in joint for name in ("baseline", "grafting 30 %", "grafting 50 %"))
    own = (rows / "graft30" / "report.md").read_text()
    assert "| grafting 30 % |" in own and "grafting 50 %" not in own
    again = run(rows, "--report_path", "joint.md")
    assert again.out.count("unchanged, skipped") == 20 and "| 0.00 |" in (rows / "joint.md").read_text()


def test_several_seeds(rows: Path) -> None:
    found = run(rows, "--seeds", "1", "2", "--mask_preset", "random")
    assert (found.code, found.err) == (0, "")
    assert "report:" not in found.out, "none was asked for"
    for seed in (1, 2):
        assert (rows / "base" / f"seed_{seed}" / "train.safetensors").exists()
        assert (rows / "graft30" / f"seed_{seed}" / "report.md").exists()
    assert (rows / "graft30" / "seed_1" / "mask.safetensors").read_bytes() != (
        rows / "graft30" / "seed_2" / "mask.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--report_path", "joint.docx"), "report.path: "),
        (("--pipeline_output", "one"), "give each its own pipeline.output"),
        (("--mask_path", "one.st"), "stage 'mask' writes"),
        (("--seeds", "1", "--train_checkpoint", "one.st", "2"), "unexpected argument '2'"),
        (("--seeds", "1", "2", "--train_checkpoint", "one.st"), "but general.seed is 2 here and 1 there"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(rows: Path, words: tuple[str, ...], told: str) -> None:
    found = run(rows, *words)
    assert found.code == 2 and told in found.err and found.err.count("\n") == 1
    assert sorted(path.name for path in rows.iterdir()) == ["common.yaml", "miniature.yaml", "rows"]
