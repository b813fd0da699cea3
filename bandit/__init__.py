"""The bandit: policies as data, decisions with honest probabilities, rewards that settle, learners that fold them.

Enter: policy documents, vectors of leads, events of their streams. Leave: decisions and settlements as events for the
log, distributions over arms, models. Invariants: the service, not the learner, owns the distribution; what is drawn
is drawn by a hash of seed and decision, and logged as drawn; a model is a fold of its policy's stream alone. Everything
here is plain synchronous code: it never reads a clock, asks for chance or waits.
"""
