"""Graph to Program: which nodes get a buffer, and the kernels that fill it. Imports `passes` and `loopir`."""
