"""Losses: what makes two views of one video lie close and two videos lie apart."""
