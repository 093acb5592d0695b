"""The network: one polite HTTP client for a site's metadata, exports and images.

`session.open_site` is the only way in: it applies the policy, starts the embedded
sandbox where the parameters name it, and yields a `client.Client`.
"""
