"""Loop IR: kernels over buffers, the programs they make, substitution. Imports the graph's types and scalars alone."""
