"""Lead scoring behind HTTP: predictions made, kept, listed and validated; the thin shell around ``scoring``."""
