"""Runs over VNN-LIB properties: lists that resume, rows that fail alone, single instances in VNN-COMP's words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from onnx_models import saved
from vnnlib_files import FAILS, HARD, HOLDS, OPEN_BOX, benchmark, norms, property_text

from abcrown_graft.assembly import property_instances
from abcrown_graft.assembly.instances import Row
from abcrown_graft.assembly.property_instances import in_batches
from abcrown_graft.config.config import Config
from abcrown_graft.config.load import load_config
from abcrown_graft.engines.native.engine import NativeEngine, prepare_native
from abcrown_graft.errors import ConfigError, FileFormatError, ModelError
from abcrown_graft.formats.counterexample import read_counterexample
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.onnx.runtime import OnnxruntimeModule
from abcrown_graft.formats.results import ResultsFile, read_results
from abcrown_graft.formats.vnnlib.judge import satisfies
from abcrown_graft.formats.vnnlib.read import read_formula
from abcrown_graft.models.checkpoint import save_checkpoint
from abcrown_graft.models.definitions import model_definition
from abcrown_graft.verdict import InstanceResult, Verdict
from abcrown_graft.verify.runner import Group

SOUND = property_text(HOLDS)
TEXTS = {
    "holds": SOUND,
    "fails": property_text(FAILS),
    "hard": property_text(HARD, ((-1, 0.9), (-0.7, 1))),
    "boxes": property_text(HOLDS, OPEN_BOX, ((-1, 1), (0, 1)), ((-1, 0), (0, 1))),
    "one_bad_box": property_text(HOLDS, OPEN_BOX, ((-1, 1), (0, 2))),
    "no_input": property_text(FAILS, ((1, -1), (0, 1))),
}
EXPECTED = ["verified", "falsified", "falsified", "verified", "falsified", "verified"]


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return benchmark(tmp_path / "bench", **TEXTS)


def config(folder: Path, **changed: object) -> Config:
    """A list of instances on the CPU, results in `folder.parent`."""
    values = {
        "general.device": "cpu",
        "general.csv_name": str(folder / "instances.csv"),
        "general.results_file": str(folder.parent / "out.txt"),
        "attack.cex_path": str(folder.parent / "cex.txt"),
        "attack.pgd_restarts": 3,
        "attack.pgd_steps": 20,
    }
    return load_config(None, {**values, **{key.replace("__", "."): value for key, value in changed.items()}})


def single(folder: Path, name: str, **changed: object) -> Config:
    network, about = folder / "onnx" / "norms.onnx", folder / "vnnlib" / f"{name}.vnnlib"
    chosen = {"general__csv_name": None, "model__onnx_path": str(network), "specification__vnnlib_path": str(about)}
    return config(folder, **{**chosen, **changed})


def verdicts(results: list[InstanceResult]) -> list[str]:
    return [str(result.verdict) for result in results]


def assert_counterexample(path: Path, network: Path, about: Path) -> None:
    """Inputs and outputs, read as float32, are what the property asserts, exactly, and what onnxruntime computes."""
    inputs, outputs = (values.float().double() for values in read_counterexample(path))
    assert satisfies(read_formula(about), inputs.tolist(), outputs.tolist())
    assert torch.equal(OnnxruntimeModule(read_onnx(network), network)(inputs[None])[0], outputs)


class TestLists:
    @pytest.mark.parametrize("batch_size", [1, 64])
    def test_every_row_has_its_verdict(self, bench: Path, batch_size: int) -> None:
        run = prepare_native(config(bench, solver__batch_size=batch_size, general__save_adv_example=True))
        assert run.indices == list(range(6)) and not run.instances.single
        results = list(run.run())
        assert [result.index for result in results] == run.indices
        assert verdicts(results) == EXPECTED
        assert all((result.label, result.predicted) == (-1, -1) for result in results)
        _, written, complete = read_results(bench.parent / "out.txt")
        assert written == results and complete
        for index, name in enumerate(TEXTS):
            path = bench.parent / f"cex_{index}.txt"
            assert path.exists() == (EXPECTED[index] == "falsified")
            if path.exists():
                assert_counterexample(path, bench / "onnx/norms.onnx", bench / "vnnlib" / f"{name}.vnnlib")

    def test_neighbours_share_a_network_and_a_batch(self, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened, batches = [], []
        open_onnx, decide = property_instances.open_onnx, NativeEngine.decide

        def noted(path: Path, *rest: object) -> object:
            opened.append(path.name)
            return open_onnx(path, *rest)

        def watched(engine: NativeEngine, group: Group, *rest: object) -> Iterator[InstanceResult]:
            batches.append(([case.index for case in group.cases], group.timeout))
            return decide(engine, group, *rest)

        monkeypatch.setattr(property_instances, "open_onnx", noted)
        monkeypatch.setattr(NativeEngine, "decide", watched)
        saved(norms(), bench / "onnx", "other.onnx")
        names = ("norms", "norms", "other", "norms", "norms")
        timeouts = (20, 20, 20, 20, 30)
        lines = [f"onnx/{a}.onnx,vnnlib/holds.vnnlib,{t}\n" for a, t in zip(names, timeouts, strict=True)]
        (bench / "instances.csv").write_text("".join(lines))
        assert verdicts(list(prepare_native(config(bench)).run())) == ["verified"] * 5
        assert opened == ["norms.onnx", "other.onnx", "norms.onnx"]
        assert batches == [([0, 1], 20), ([2], 20), ([3], 20), ([4], 30)]

    def test_rows_are_chosen_as_images_are(self, bench: Path) -> None:
        assert prepare_native(config(bench, data__start=1, data__end=3)).indices == [1, 2]
        assert prepare_native(config(bench, data__select_instance=[4, 0])).indices == [4, 0]
        with pytest.raises(ConfigError, match="instance 6 does not exist; the list has 6"):
            prepare_native(config(bench, data__select_instance=[6]))
        with pytest.raises(ConfigError, match="leave no instance; the list has 6"):
            prepare_native(config(bench, data__start=6))

    def test_what_is_wrong_with_a_row_is_its_own_error(self, bench: Path) -> None:
        (bench / "onnx/cut.onnx").write_bytes((bench / "onnx/norms.onnx").read_bytes()[:-40])
        (bench / "vnnlib/cut.vnnlib").write_text(SOUND[:-12])
        (bench / "vnnlib/other.vnnlib").write_text(SOUND.replace("(declare-const Y_1 Real)", ""))
        pairs = (
            "norms,holds",
            "missing,holds",
            "cut,holds",
            "norms,missing",
            "norms,cut",
            "norms,other",
            "norms,fails",
        )
        lines = ["onnx/{}.onnx,vnnlib/{}.vnnlib,20\n".format(*pair.split(",")) for pair in pairs]
        (bench / "instances.csv").write_text("".join(lines))
        results = {result.index: result for result in prepare_native(config(bench)).run()}
        assert [str(results[k].verdict) for k in range(7)] == ["verified", *["error"] * 5, "falsified"]
        reasons = [r"missing.onnx: no such file", r"cut.onnx: ", "missing.vnnlib: no such file", "cut.vnnlib: "]
        reasons.append("other.vnnlib: 1 elements of Y are declared, the network has 2")
        for index, told in enumerate(reasons, start=1):
            assert told in results[index].reason and "\n" not in results[index].reason

    def test_a_defect_is_the_rows_error_too(self, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read_case = property_instances.read_case

        def second_fails(network: object, index: int, *rest: object) -> object:
            if index == 1:
                raise RuntimeError("a defect")
            if index == 3:
                raise torch.cuda.OutOfMemoryError("out of memory")
            return read_case(network, index, *rest)

        monkeypatch.setattr(property_instances, "read_case", second_fails)
        results = {result.index: result for result in prepare_native(config(bench)).run()}
        assert (results[1].verdict, results[1].reason) == (Verdict.ERROR, "RuntimeError: a defect")
        assert results[3].verdict is Verdict.OUT_OF_MEMORY
        assert verdicts([results[k] for k in (0, 2, 4, 5)]) == [EXPECTED[k] for k in (0, 2, 4, 5)]

    def test_reading_counts(self, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read_case = property_instances.read_case

        def slow(network: object, index: int, path: Path, spent: float) -> object:
            return read_case(network, index, path, spent + (100.0 if index == 0 else 0.0))

        monkeypatch.setattr(property_instances, "read_case", slow)
        results = list(prepare_native(config(bench)).run())
        assert results[0].verdict is Verdict.TIMEOUT and results[0].seconds > 100
        assert verdicts(results[1:]) == EXPECTED[1:]

    def test_an_interrupted_run_goes_on(self, bench: Path) -> None:
        first = prepare_native(config(bench))
        running = first.run()
        kept = [next(running) for _ in range(2)]
        running.close()
        again = prepare_native(config(bench))
        assert list(again.results.done.values()) == kept
        rest = list(again.run())
        assert verdicts([*kept, *rest]) == EXPECTED

    @pytest.mark.parametrize("change", ["property", "network", "timeout", "list", "settings"])
    def test_a_run_over_other_files_is_another_run(self, bench: Path, change: str) -> None:
        prepare_native(config(bench))
        assert prepare_native(config(bench)).results.kept is None
        if change == "property":
            (bench / "vnnlib/holds.vnnlib").write_text(TEXTS["fails"])
        elif change == "network":
            saved(norms(1), bench / "onnx", "norms.onnx")
        elif change == "list":
            (bench / "instances.csv").write_text("onnx/norms.onnx,vnnlib/holds.vnnlib,20\n")
        changed = {"timeout": {"bab__override_timeout": 3}, "settings": {"solver__bound_prop_method": "crown"}}
        assert prepare_native(config(bench, **changed.get(change, {}))).results.kept is not None

    def test_properties_of_a_torch_model(self, bench: Path) -> None:
        torch.manual_seed(0)
        save_checkpoint(bench / "w.safetensors", model_definition("digits_cnn").build(), {})
        names = [*(f"X_{i}" for i in range(64)), *(f"Y_{j}" for j in range(10))]
        text = "".join(f"(declare-const {name} Real)" for name in names)
        text += "".join(f"(assert (<= 0.5 X_{i}))(assert (<= X_{i} 0.501))" for i in range(64))
        (bench / "vnnlib/big.vnnlib").write_text(text + "(assert (>= Y_0 1000))")
        (bench / "vnnlib/small.vnnlib").write_text(text + "(assert (<= Y_0 1000))")
        (bench / "instances.csv").write_text("vnnlib/big.vnnlib\nvnnlib/small.vnnlib\n")
        model = {"model__name": "digits_cnn", "model__path": str(bench / "w.safetensors")}
        assert verdicts(list(prepare_native(config(bench, **model)).run())) == ["verified", "falsified"]

    def test_files_are_written_from_the_current_folder(self, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(bench.parent)
        files = {"general__results_file": "o.txt", "attack__cex_path": "c.txt", "general__csv_name": "instances.csv"}
        run = prepare_native(config(bench, **files, general__root_path=str(bench), general__save_adv_example=True))
        list(run.run())
        assert {"o.txt", "c_1.txt"} <= {path.name for path in bench.parent.iterdir()}

    def test_a_list_that_cannot_be_read(self, bench: Path) -> None:
        (bench / "instances.csv").write_text("onnx/norms.onnx,vnnlib/holds.vnnlib,soon\n")
        with pytest.raises(FileFormatError, match=r"instances\.csv:1: the timeout 'soon'"):
            prepare_native(config(bench))
        assert not (bench.parent / "out.txt").exists()


class TestSingle:
    @pytest.mark.parametrize(("name", "expected"), [*zip(TEXTS, EXPECTED, strict=True)])
    def test_the_words_of_the_competition(self, bench: Path, name: str, expected: str) -> None:
        run = prepare_native(single(bench, name, general__save_adv_example=True))
        (result,) = run.run()
        assert run.instances.single and str(result.verdict) == expected
        path, network, about = bench.parent / "out.txt", bench / "onnx/norms.onnx", bench / "vnnlib" / f"{name}.vnnlib"
        if expected == "verified":
            assert path.read_text() == "unsat\n" and not (bench.parent / "cex.txt").exists()
        else:
            assert path.read_text() == f"sat\n{(bench.parent / 'cex.txt').read_text()}"
            assert_counterexample(path, network, about)

    def test_without_being_asked_for_there_is_no_counterexample(self, bench: Path) -> None:
        list(prepare_native(single(bench, "fails")).run())
        assert (bench.parent / "out.txt").read_text() == "sat\n"
        assert not (bench.parent / "cex.txt").exists()

    @pytest.mark.parametrize(
        ("changed", "word"),
        [
            ({"bab__override_timeout": 0.0}, "timeout"),
            ({"general__complete_verifier": "skip", "solver__bound_prop_method": "ibp"}, "unknown"),
        ],
    )
    def test_undecided(self, bench: Path, changed: dict[str, object], word: str) -> None:
        (bench / "vnnlib/open.vnnlib").write_text(property_text("(assert (>= (- Y_0 Y_1) 1.0001))"))
        list(prepare_native(single(bench, "open", attack__pgd_order="skip", **changed)).run())
        assert (bench.parent / "out.txt").read_text() == f"{word}\n"

    @pytest.mark.parametrize("wrong", ["onnx/norms.onnx", "vnnlib/holds.vnnlib"])
    @pytest.mark.parametrize("how", ["missing", "cut"])
    def test_what_is_wrong_with_its_files_is_the_users_error(self, bench: Path, wrong: str, how: str) -> None:
        (bench.parent / "out.txt").write_text("unsat\n")
        content = (bench / wrong).read_bytes()
        (bench / wrong).unlink()
        if how == "cut":
            (bench / wrong).write_bytes(content[: len(content) - 12])
        with pytest.raises(FileFormatError, match=wrong.replace(".", r"\.")):
            list(prepare_native(single(bench, "holds")).run())
        assert (bench.parent / "out.txt").read_text() == "error\n"

    def test_a_network_that_onnxruntime_sees_otherwise_is_refused(
        self, bench: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from abcrown_graft.formats.onnx import reader

        simplified = reader.simplified
        monkeypatch.setattr(reader, "simplified", lambda network: simplified(network).map_tensors(lambda t: t * 0.9))
        with pytest.raises(ModelError, match=r"norms\.onnx: outputs differ from onnxruntime's by 0\."):
            list(prepare_native(single(bench, "holds")).run())
        assert (bench.parent / "out.txt").read_text() == "error\n"

    def test_somebody_elses_file_is_left_alone(self, bench: Path) -> None:
        (bench.parent / "out.txt").write_text("my notes\n")
        with pytest.raises(FileFormatError, match=r"out\.txt"):
            prepare_native(single(bench, "holds"))
        assert (bench.parent / "out.txt").read_text() == "my notes\n"

    def test_preparing_writes_nothing(self, bench: Path) -> None:
        prepare_native(single(bench, "holds"))
        assert not (bench.parent / "out.txt").exists()


def test_batches_are_neighbours_of_one_time_limit() -> None:
    rows = [Row(k, None, Path("p"), timeout) for k, timeout in enumerate((5, 5, 5, 7, 7, 5))]
    assert [[row.index for row in batch] for batch in in_batches(rows, 2)] == [[0, 1], [2], [3, 4], [5]]
    assert list(in_batches([], 3)) == []


def test_a_results_file_knows_rows_without_classes(tmp_path: Path) -> None:
    result = InstanceResult(3, -1, -1, Verdict.VERIFIED, "safe", 1.0, lower_bound=math.pi)
    file = ResultsFile(tmp_path / "out.txt", {})
    file.append(result)
    assert ResultsFile(tmp_path / "out.txt", {}).done == {3: result}
