"""Benchmarks: each measures one claim beside its peer in the same run, and ends by itself.

``python -m bench`` runs them all, ``python -m bench.http_read`` one. A program prints what it does, the ratio
with both absolute figures, and one line of JSON; it writes the same to ``bench/results/NAME.json``. Servers run
pinned to core 0, the load generator to core 1; ours and the peer take turns, and medians are compared.
"""
