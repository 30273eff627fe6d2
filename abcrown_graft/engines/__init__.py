"""Who decides: the native verifier or α,β-CROWN."""
