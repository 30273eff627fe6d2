"""α,β-CROWN as the engine: everything that touches it lies here."""
