"""Tracked calls on other processes and machines."""
