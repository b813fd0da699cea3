"""Requests that no single partition answers: parts of all of them put together, and ids whose partition has to be found."""
