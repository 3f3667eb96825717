"""A process that decodes what strangers made, and can do nothing else should one of them take it over."""
