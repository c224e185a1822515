"""The compiler of gradloom: a typed SSA IR for array programs, its automatic differentiation and its native code."""
