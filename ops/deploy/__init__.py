"""What a machine's own service manager needs to run evolution in the background."""
