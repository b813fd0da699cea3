"""Alerts behind HTTP: rules defined, leads watched, alerts listed, receivers told; the thin shell around ``scoring``."""
