"""The native verifier: from images and a perturbation to verdicts."""
