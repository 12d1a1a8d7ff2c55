"""Graph to Graph: each pass is a plain function, and none may change a value. Knows nothing of loops."""
