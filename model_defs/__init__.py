"""Model definitions named by the YAML files: plain torch modules, each written once."""
