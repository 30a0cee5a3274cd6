"""PyTorch for the kit that tries anyone's rule."""
