"""Boxes, and what is to be proved of a network's outputs over them."""
