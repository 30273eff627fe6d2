"""The stages of the pipeline, each a function of a configuration, and the files between them."""
