"""The reference interpreter: runs the IR by the records' NumPy references."""
