"""One module per peer; each has a function `adapter(variant)`. None of them imports another competitor."""
