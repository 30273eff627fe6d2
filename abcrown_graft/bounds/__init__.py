"""Sound bounds on every neuron of a network over a box of inputs."""
