"""YAML experiments that ship with the package; any of them is found by name."""
