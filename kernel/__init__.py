"""What every other package stands on: time, ids, fixed point, errors, settings, metrics, threads.

Imports nothing of ours. Everything that asks the wall clock, draws a random number or reads the
environment is here, so that all other packages can be run again from a seed and a virtual clock.
"""
