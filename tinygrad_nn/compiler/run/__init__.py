"""Machine code at work: resident values, calls, training, and what is shown of them. Imports all stages before it."""
