"""What is solved: one module a family."""
