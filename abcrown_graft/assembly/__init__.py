"""From a configuration to models, data, settings and places of files."""
