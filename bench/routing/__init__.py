"""Simulated days of routing: the gateway's own decisions against rules as they are commonly built."""
