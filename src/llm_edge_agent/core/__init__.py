"""Pure decisions. No await, clock, environment, randomness or logging: those come in as arguments."""
