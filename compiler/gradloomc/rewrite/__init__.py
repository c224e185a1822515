"""Rewriting: rebuild a function op by op, with the records' folds and named algebraic rules."""
