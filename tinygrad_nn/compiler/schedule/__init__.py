"""Program to Schedule: vector axes, relayout, loop fusion, memory. Imports `loopir` alone."""
