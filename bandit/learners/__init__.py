"""Learners: each a fold of settled rewards into a model that gives distributions over arms (``learner.Learner``)."""
