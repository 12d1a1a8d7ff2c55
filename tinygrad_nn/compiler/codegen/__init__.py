"""Schedule to machine code: what is printed, and what LLVM makes of it. Imports `schedule` and `loopir`."""
