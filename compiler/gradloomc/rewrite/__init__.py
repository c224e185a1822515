"""Rewriting: simplify a function by the records' folds and by named algebraic rules."""
