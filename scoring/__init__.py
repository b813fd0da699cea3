"""Lead scoring: how likely, how soon, how healthy, and why.

Enters: the events of leads, already read from the log, and an organisation's catalogue. Leaves: rows of features as
they were known at a time, with what came of them; models trained on such rows, their cards, and their answers about
new rows; the points that rules give without any model. Everything here is plain synchronous code, long computations in
steps. It never reads a clock, draws from no chance but a given seed, opens no store, and serves nobody.
"""
