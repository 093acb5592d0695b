"""The drawn board: posts, tags and relations of the sandbox, from a seed alone."""
