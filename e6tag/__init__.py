"""The tagger as people install it: images, bundles and predictions, without the pipeline."""
