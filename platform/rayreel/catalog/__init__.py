"""Which videos there are."""
