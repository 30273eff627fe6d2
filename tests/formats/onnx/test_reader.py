"""What a file becomes: names, shapes and precision; and what is refused, in one line that says where."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import assert_read, box_around, integers, model_of, node, saved, weights

from abcrown_graft.errors import AbcrownGraftError, FileFormatError, ModelError, UnsupportedError
from abcrown_graft.formats.onnx.reader import read_onnx
from abcrown_graft.formats.onnx.runtime import check_against_onnxruntime
from abcrown_graft.network import operators as op

pytestmark = pytest.mark.usefixtures("one_thread")


def dense(kind: int = TensorProto.FLOAT, **changed: object) -> onnx.ModelProto:
    """`x (batch, 4) -> relu(x w + b) -> y`."""
    dtype = np.float64 if kind == TensorProto.DOUBLE else np.float32
    arrays = {"w": weights(4, 3).astype(dtype), "b": weights(3).astype(dtype)}
    nodes = node("MatMul", "x w", "z"), node("Add", "z b", "s"), node("Relu", "s")
    return model_of(*nodes, **{"shape": ("batch", 4), "kind": kind, **arrays, **changed})  # type: ignore[arg-type]


def refused(model: onnx.ModelProto, folder: Path, error: type[AbcrownGraftError] = UnsupportedError) -> str:
    """What the reader says of a file that it does not take, without the file's name."""
    path = saved(model, folder)
    with pytest.raises(error) as caught:
        read_onnx(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


class TestWhatIsRead:
    def test_names_shapes_and_sites(self, tmp_path: Path):
        found = assert_read(dense(), tmp_path)
        assert (found.input_name, found.output_name, found.opset) == ("x", "y", 13)
        assert (found.input_shape, found.output_shape) == ((1, 4), (1, 3))
        assert found.network.input.shape == (4,)
        assert dict(found.network.sites) == {"y": (3,)}
        assert [type(n.operator) for n in found.network.nodes] == [op.Input, op.Linear, op.ReLU]

    def test_weights_in_single_precision_are_kept_exactly_in_double(self, tmp_path: Path):
        found = assert_read(dense(), tmp_path)
        assert (found.dtype, found.network.dtype) == (torch.float32, torch.float64)
        linear = found.network.nodes[1].operator
        assert isinstance(linear, op.Linear)
        assert torch.equal(linear.weight, torch.from_numpy(weights(4, 3).T).double())

    def test_a_file_in_double_precision_agrees_to_1e_12(self, tmp_path: Path):
        path = saved(dense(TensorProto.DOUBLE), tmp_path)
        pytest.importorskip("onnxruntime")
        found = read_onnx(path)
        assert found.dtype == torch.float64
        assert check_against_onnxruntime(found, path, box_around(found)) < 1e-12

    @pytest.mark.parametrize("shape, inner", [(("n", 4), (4,)), ((1, 4), (4,)), ((4,), (4,)), ((2, 4), (2, 4))])
    def test_only_a_leading_one_or_an_open_size_is_a_batch(self, tmp_path: Path, shape: tuple, inner: tuple):
        found = assert_read(dense(shape=shape, output=("n", "m")[: len(shape)]), tmp_path)
        assert found.network.input.shape == inner

    def test_weights_among_the_inputs(self, tmp_path: Path):
        """As files before IR version 4 have them."""
        model = dense(opset=8)
        model.ir_version = 3
        model.graph.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer
        )
        assert_read(model, tmp_path)

    @pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 17, 20, 21])
    def test_opsets(self, tmp_path: Path, opset: int):
        assert assert_read(dense(opset=opset), tmp_path).opset == opset

    @pytest.mark.parametrize("name", ["model.onnx.gz", "compressed"])
    def test_compressed(self, tmp_path: Path, name: str):
        pytest.importorskip("onnxruntime")
        path = tmp_path / name
        path.write_bytes(gzip.compress(dense().SerializeToString()))
        found = read_onnx(path)
        assert check_against_onnxruntime(found, path, box_around(found)) < 1e-6

    def test_external_data(self, tmp_path: Path):
        pytest.importorskip("onnxruntime")
        path = tmp_path / "model.onnx"
        onnx.save(dense(), path, save_as_external_data=True, location="weights", size_threshold=0)
        found = read_onnx(path)
        assert check_against_onnxruntime(found, path, box_around(found)) < 1e-6

    def test_what_the_output_does_not_depend_on_is_left_out(self, tmp_path: Path):
        model = dense()
        model.graph.node.append(node("Tanh", "s", "unread"))
        assert len(assert_read(model, tmp_path).network.nodes) == 3

    def test_two_convolutions_in_a_row_and_a_residual_sum(self, tmp_path: Path):
        nodes = [
            node("Conv", "x k", "1", pads=[1, 1, 1, 1]),
            node("BatchNormalization", "1 g g g v", "2"),
            node("Relu", "2", "3"),
            node("Conv", "3 k", "4", pads=[1, 1, 1, 1]),
            node("Add", "4 x", "5"),
            node("Relu", "5", "6"),
            node("Flatten", "6", "7"),
            node("Gemm", "7 w", "y"),
        ]
        arrays = {"k": weights(2, 2, 3, 3), "g": weights(2), "v": np.abs(weights(2)), "w": weights(18, 3)}
        found = assert_read(model_of(*nodes, shape=("n", 2, 3, 3), **arrays), tmp_path)
        kinds = [type(n.operator).__name__ for n in found.network.nodes]
        assert kinds == ["Input", "Conv2d", "ReLU", "Conv2d", "Add", "ReLU", "Reshape", "Linear"], "no scale is left"
        assert dict(found.network.sites) == {"3": (2, 3, 3), "6": (2, 3, 3)}


class TestFilesThatAreNotRead:
    def test_missing(self, tmp_path: Path):
        with pytest.raises(FileFormatError, match=r"none\.onnx: no such file"):
            read_onnx(tmp_path / "none.onnx")

    def test_a_folder(self, tmp_path: Path):
        with pytest.raises(FileFormatError, match="cannot be read"):
            read_onnx(tmp_path)

    @pytest.mark.parametrize("size", [1, 20, 100, -1])
    def test_truncated(self, tmp_path: Path, size: int):
        path = tmp_path / "model.onnx"
        path.write_bytes(dense().SerializeToString()[:size])
        with pytest.raises(FileFormatError, match=r"model\.onnx: not "):
            read_onnx(path)

    @pytest.mark.parametrize("content", [b"", b"model:\n  name: cnn\n"])
    def test_something_else(self, tmp_path: Path, content: bytes):
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"not an? "):
            read_onnx(path)

    def test_truncated_inside_its_compression(self, tmp_path: Path):
        path = tmp_path / "model.onnx.gz"
        path.write_bytes(gzip.compress(dense().SerializeToString())[:-20])
        with pytest.raises(FileFormatError, match="not a complete gzip file"):
            read_onnx(path)

    def test_external_data_that_are_missing(self, tmp_path: Path):
        path = tmp_path / "model.onnx"
        onnx.save(dense(), path, save_as_external_data=True, location="weights", size_threshold=0)
        (tmp_path / "weights").unlink()
        with pytest.raises(FileFormatError, match="external data of 'w' cannot be read"):
            read_onnx(path)

    def test_external_data_elsewhere(self, tmp_path: Path):
        model = dense()
        onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../secret")
        model.graph.initializer[0].ClearField("raw_data")
        (tmp_path / "secret").write_bytes(bytes(48))
        inside = tmp_path / "inside"
        inside.mkdir()
        with pytest.raises(FileFormatError, match="external data of 'w' cannot be read"):
            read_onnx(saved(model, inside))


class TestModelsThatAreNotRead:
    def test_an_unknown_operator_is_named_with_its_node_and_opset(self, tmp_path: Path):
        model = dense()
        model.graph.node[2].op_type = "Tanh"
        assert refused(model, tmp_path).startswith(
            "Tanh 'the Relu of y' (opset 13): this operator is not supported; known: Add, AveragePool, "
        )

    @pytest.mark.parametrize("kind, shown", [("Relu", "com.example.Relu"), ("Two\nlines", r"'com.example.Two\nlines'")])
    def test_an_operator_of_another_domain(self, tmp_path: Path, kind: str, shown: str):
        model = dense()
        model.graph.node[2].domain, model.graph.node[2].op_type = "com.example", kind
        model.opset_import.append(helper.make_opsetid("com.example", 1))
        assert refused(model, tmp_path).startswith(f"{shown} 'the Relu of y' (opset 13): this operator")

    def test_a_control_flow_operator(self, tmp_path: Path):
        model = dense()
        branch = helper.make_graph([node("Relu", "s", "r")], "branch", [], [model.graph.output[0]])
        branch.output[0].name = "r"
        model.graph.node[2].CopyFrom(helper.make_node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch))
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
        assert "If 'if' (opset 13): this operator is not supported" in refused(model, tmp_path)

    @pytest.mark.parametrize("opset", [6, 29])
    def test_an_opset_that_is_too_old_or_too_new(self, tmp_path: Path, opset: int):
        model = dense(opset=opset)
        path = saved(model, tmp_path)
        with pytest.raises(AbcrownGraftError, match=f"opset {opset} is not between 7 and 28|not a valid ONNX model"):
            read_onnx(path)

    def test_several_inputs_are_named(self, tmp_path: Path):
        model = dense()
        model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 3]))
        assert refused(model, tmp_path) == "2 inputs ('x', 'mask'); one is supported"

    def test_several_outputs_are_named(self, tmp_path: Path):
        model = dense()
        model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3]))
        assert refused(model, tmp_path) == "2 outputs ('y', 'z'); one is supported"

    def test_an_input_of_integers(self, tmp_path: Path):
        assert refused(dense(TensorProto.INT64), tmp_path) == "input 'x' is of type INT64; use float or double"

    def test_an_open_size_that_is_no_batch(self, tmp_path: Path):
        message = refused(dense(shape=(1, "features")), tmp_path)
        assert message == "axis 1 of input 'x' has no fixed size; give it one"

    def test_an_empty_input(self, tmp_path: Path):
        assert refused(dense(shape=(1, 0)), tmp_path, ModelError) == "axis 1 of input 'x' has size 0"

    def test_an_absurdly_large_input(self, tmp_path: Path):
        assert "is too large" in refused(dense(shape=(1, 2**40)), tmp_path)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_weights_that_are_not_finite(self, tmp_path: Path, value: float):
        broken = weights(3)
        broken[1] = value
        message = refused(dense(b=broken), tmp_path, ModelError)
        assert message == "Add 'the Add of s' (opset 13): a weight is NaN or infinite"

    def test_weights_of_another_precision(self, tmp_path: Path):
        message = refused(dense(b=weights(3).astype(np.float64)), tmp_path, ModelError)
        assert message.endswith("a constant is of type float64, the network of type float32")

    def test_a_network_of_constants(self, tmp_path: Path):
        model = model_of(node("Add", "w w"), shape=(1, 4), output=(1, 4), w=weights(1, 4))
        assert refused(model, tmp_path, ModelError) == "the output 'y' does not depend on the input"

    @pytest.mark.parametrize("change", [lambda m: m.graph.output[0], lambda m: m.graph.input[0]])
    def test_tensors_that_nothing_makes(self, tmp_path: Path, change: Callable[[onnx.ModelProto], onnx.ValueInfoProto]):
        model = dense()
        change(model).name = "other"
        assert refused(model, tmp_path, FileFormatError).startswith("not a valid ONNX model: ")

    def test_an_output_of_another_shape_than_declared(self, tmp_path: Path):
        message = refused(dense(output=(1, 7)), tmp_path, ModelError)
        assert message == "output 'y' is declared [1, 7], but the network gives [1, 3]"

    def test_the_second_output_of_an_operator(self, tmp_path: Path):
        model = model_of(
            node("MaxPool", "x", "z places", kernel_shape=[2]), node("Identity", "places", "y"),
            shape=(1, 1, 4), output=(1, 1, 3),
        )  # fmt: skip
        message = refused(model, tmp_path)
        assert (
            message == "MaxPool 'the MaxPool of z places' (opset 13): its output 'places', not the first one, is used"
        )

    def test_the_second_output_of_an_operator_as_the_networks(self, tmp_path: Path):
        model = model_of(node("Dropout", "x", "z y"), shape=(1, 4), opset=7)
        assert refused(model, tmp_path).endswith("its output 'y', not the first one, is used")

    def test_sparse_weights(self, tmp_path: Path):
        model = dense()
        values, places = numpy_helper.from_array(weights(1), "s1"), numpy_helper.from_array(integers(0), "p")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))
        assert refused(model, tmp_path).startswith("sparse initializers")

    def test_functions_of_its_own(self, tmp_path: Path):
        model = dense()
        imports = [helper.make_opsetid("", 13)]
        model.functions.append(helper.make_function("mine", "F", ["a"], ["b"], [node("Relu", "a", "b")], imports))
        model.opset_import.append(helper.make_opsetid("mine", 1))
        assert refused(model, tmp_path).startswith("functions of the model's own")
