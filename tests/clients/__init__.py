"""Programs of others, each in an environment of its own: `make clients`."""
