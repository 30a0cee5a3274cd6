"""Anyone's rule under the kit: declared arguments, points, references, checks, a report."""
