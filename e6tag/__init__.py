"""The tagger as people install it.

Images, bundles and predictions, without the pipeline.
"""
