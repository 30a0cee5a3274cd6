"""JAX for the kit that tries anyone's rule."""
