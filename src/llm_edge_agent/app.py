"""Composition root: the only place where the edges meet."""
