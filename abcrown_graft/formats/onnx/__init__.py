"""ONNX files as networks: the reader, one operator per file, and the comparison with onnxruntime."""
