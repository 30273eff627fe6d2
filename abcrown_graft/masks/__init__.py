"""Which neurons are grafted: instability, significance, selection, and the files of each."""
