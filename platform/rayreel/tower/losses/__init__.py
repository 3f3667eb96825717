"""Losses: pull two views of a video together and push different videos apart."""
