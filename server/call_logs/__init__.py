"""Search and quote the phone calls of several voice vendors from an AI assistant."""

__version__ = "0.1.0"
