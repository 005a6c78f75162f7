"""Bad days of the whole product: what is killed or frozen while somebody works, and what becomes of the work."""
