"""Experiments: scenarios side by side, for shares of the users, and what is known of a scenario before it is used."""
