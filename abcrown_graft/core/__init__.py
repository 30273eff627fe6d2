"""The unstable core of a verification instance: what is left when every stable neuron is substituted."""
