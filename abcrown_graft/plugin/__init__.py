"""What a user names in a configuration of α,β-CROWN's own: `abcrown_graft.plugin.hooks`."""
