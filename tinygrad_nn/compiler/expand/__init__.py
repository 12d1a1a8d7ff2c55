"""Schedule to expanded code: vectors, unrolling, masks, addresses as explicit steps. Imports `loopir`, `schedule`."""
