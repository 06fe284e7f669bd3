"""The Keras model you already have, as a production training job."""

__version__ = "0.1.0"
