"""The command line: a thin skin over the engine; the only room that prints."""
