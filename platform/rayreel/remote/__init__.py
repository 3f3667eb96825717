"""Safe reading of addresses from API clients and catalogs: allowed hosts and files, size limits, connections."""
