"""Steps in time: methods, their lengths and where a run ends."""
