"""Tracing: a plain NumPy function, called once with tracers for its arrays, becomes a function on the `nd` level.

Start reading at capture.py; tracer.py is what the user's code computes with.
"""
