"""Command lines of the pipeline stages."""
