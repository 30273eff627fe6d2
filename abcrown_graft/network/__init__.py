"""The network as one small immutable graph that bounds, attacks, masks and export work on."""
