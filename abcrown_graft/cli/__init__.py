"""The command lines `abcrown` and `abcrown-graft`."""
