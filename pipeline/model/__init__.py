"""The network that is trained: Keras only, no files but the saved model."""
