"""Code generation: from the loops level to LLVM IR text, and from there to native code."""
