"""Linearity grafting for complete neural-network verification."""

__version__ = "0.2.0"
