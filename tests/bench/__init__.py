"""Benchmarks: `make bench`, or `python -m tests.bench [MODULE ...]`.

Each module here that has a function `measure()` is a benchmark. It returns its figures by
name, says in its docstring what each of them is, and is found by itself. A figure's name
ends in its unit: `_us` (microseconds), `_s` (seconds), `_ratio`; percentiles say so before
or after it.
"""
