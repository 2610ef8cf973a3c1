"""Our search against its peers, on a simulated skill whose accuracy is known exactly: `make bench-peers`."""
