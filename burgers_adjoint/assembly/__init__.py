"""A configuration becomes objects: objective, schedule, stores, the truth of a twin experiment."""
