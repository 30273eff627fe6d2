"""Searching for counterexamples by gradients."""
