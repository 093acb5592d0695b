"""`e6tag serve`: a page in the browser and a JSON API around a bundle."""
