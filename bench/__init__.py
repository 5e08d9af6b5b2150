"""The benchmarks: `python -m bench --help`. Method and figures: docs/performance.md."""
