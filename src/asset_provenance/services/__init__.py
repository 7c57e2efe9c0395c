"""The network, each service behind its own client."""
