"""The control plane: who may reach what, why, and until when."""
