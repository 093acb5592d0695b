"""Networks from an image to a feature map, one per module.

`model.build` imports the one that it uses.
"""
