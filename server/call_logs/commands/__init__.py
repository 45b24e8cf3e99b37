"""The commands of the command line, a file each: what they do, and what they print for people and as JSON."""
