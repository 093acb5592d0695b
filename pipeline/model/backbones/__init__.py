"""Networks from an image to a feature map, one per module.

`train` depends on the module that its parameters name, and on no other.
"""
