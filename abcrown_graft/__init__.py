"""Linearity grafting for complete neural-network verification."""

__version__ = "0.1.0"
