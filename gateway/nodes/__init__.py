"""Many processes that share one topic: which of them holds which partition, and how they take turns.

Enter: the topic's partitions, and which processes there are. Leave: for each partition one process that writes it, and
others that have a copy. A partition is held by a whole service over a directory of its own (``gateway.service``), so
whatever holds for one process holds for each partition.
"""
