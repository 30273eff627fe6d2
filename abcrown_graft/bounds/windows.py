"""Which nodes can be bounded on receptive fields (see `network.windows`), and how large these become."""

from __future__ import annotations

from abcrown_graft.network.graph import Network


def is_windowed(network: Network, name: str) -> bool:
    """Whether a node and everything before it are maps that windows can be pulled back through."""
    waiting, seen = [name], set[str]()
    while waiting:
        node = network.by_name[waiting.pop()]
        if len(node.shape) != 3 or not node.operator.takes_windows(node.shape):
            return False
        waiting += [source for source in node.inputs if source not in seen]
        seen.update(node.inputs)
    return True


def largest_window(network: Network, name: str) -> int:
    """The most numbers that one row of a windowed node's backward pass holds at any node."""
    sizes = {name: (1, 1)}
    largest = 1
    order = [node.name for node in network.nodes]
    for current in reversed(order[: order.index(name) + 1]):
        if current in sizes:
            node = network.by_name[current]
            h, w = (min(a, b) for a, b in zip(sizes[current], node.shape[1:], strict=True))
            largest = max(largest, node.shape[0] * h * w)
            before = node.operator.window_before(h, w)
            for source in node.inputs:
                known = sizes.get(source, (1, 1))
                sizes[source] = (max(known[0], before[0]), max(known[1], before[1]))
    return largest
