"""Kafka topics of others: events that come in, and what the change feed tells that goes out.

Enter: messages of existing topics, each made an event by a mapping, or as a CloudEvent. Leave: messages about changes of
features, decisions and alerts. Neither needs the log to be on Kafka. Both are at least once: an offset is committed when the
events stand in the log, a place is noted when the brokers have what was told up to it. What cannot be an event never holds
up what comes after it; brokers that are away hold up nothing but these topics.
"""
