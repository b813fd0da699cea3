"""From the node that is asked to the one that can answer: who that is now, the way there and back, and waiting for a handover."""
