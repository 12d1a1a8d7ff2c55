"""Speed, as ratios between contestants measured side by side: `python -m tests.benchmarks`. Never part of the test
run.
"""
