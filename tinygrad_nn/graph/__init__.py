"""The record of a computation: nodes and graphs, the scalar expressions of an element, and the walk backwards."""
