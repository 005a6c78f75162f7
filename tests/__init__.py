"""The tests. Each folder is a layer; `support` is what they share."""
