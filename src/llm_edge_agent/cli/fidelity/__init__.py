"""`doctor fidelity`: whether what a client sends is what the provider receives, and back, to the last byte."""
