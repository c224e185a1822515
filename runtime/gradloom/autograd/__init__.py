"""The eager face: PyTorch's autograd semantics on the compiled engine."""
