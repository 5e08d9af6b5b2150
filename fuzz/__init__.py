"""Fuzzing of the parsers: mutated bytes go through the compiled code and a slow, obvious reference; both must agree.

`python -m fuzz 60 --target request` runs one target for a minute; without a target, each in turn. A run is a function
of its seed. What fails is written to fuzz/found/ and printed with the sentence that it broke.
"""
