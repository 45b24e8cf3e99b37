"""The team server: the protocol over HTTP, for principals with tokens."""
