"""The grafted activation and other torch modules, and surgery on networks of them."""
