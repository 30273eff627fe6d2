"""Functions for configurations of α,β-CROWN's own: `abcrown_graft.plugin.hooks`."""
