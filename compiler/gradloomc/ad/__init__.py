"""Automatic differentiation on the `nd` level: linearize, then transpose."""
