"""Tests of model.backbones."""
