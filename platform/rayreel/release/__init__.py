"""Release: registry versions, promotion."""
