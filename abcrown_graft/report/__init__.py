"""What came out of a pipeline, as tables and plots."""
