"""Measure value_and_grad of gradloom against its peers: `python -m bench`.

Start reading at `workload.py` (what a row is), `peers/base.py` (what a column is), `measure.py`
(how one pair is timed) and `__main__.py` (how the table comes together).
"""
