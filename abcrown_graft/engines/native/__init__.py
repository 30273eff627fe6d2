"""The native verifier as an engine: configured images, and properties of VNN-LIB files."""
