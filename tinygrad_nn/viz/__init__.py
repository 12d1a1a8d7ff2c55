"""Drawings of graphs. The graphviz package is loaded when a picture is made, not before."""

from .draw import Drawing as Drawing
from .draw import draw as draw
