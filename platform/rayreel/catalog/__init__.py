"""Read catalogs: lists of videos and the interactions with them."""
