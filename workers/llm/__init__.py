"""What stands between a flow and a model: journal, retry, gate, client."""
