"""The tagger as people install it: images, bundles, predictions; no pipeline."""
