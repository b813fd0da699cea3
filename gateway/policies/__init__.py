"""Policies behind HTTP: which there are, how they decide and are rewarded; the thin shell around ``bandit``."""
