"""Execution: memory, calls and libraries. The only part that touches the user's arrays."""
