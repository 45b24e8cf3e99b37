"""Search and quote the phone calls of several voice vendors from an AI assistant."""
