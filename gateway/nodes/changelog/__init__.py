"""Snapshots of the partitions that a node leads, told to the others, so that a node without a copy begins from them."""
