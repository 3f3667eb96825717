"""What a language model writes about videos of which little is known: a summary, topics and a clearer title."""
