"""Files in and out: ONNX, VNN-LIB, results, counterexamples."""
