"""The outside world: one polite HTTP client over a site's metadata, exports and pictures.

`opening.open_site` is the only way in: it applies the policy, starts the embedded sandbox where that is the site, and
yields a `client.Client`.
"""
