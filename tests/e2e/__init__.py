"""Tests of a running service and of the commands before it. As a package, its service ends with its last test."""
