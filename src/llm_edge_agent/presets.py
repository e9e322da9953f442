"""Providers known by name: a table."""
