"""The worked examples: a network trained in lockstep (`demo`), a chain of functions (`walk`)."""
