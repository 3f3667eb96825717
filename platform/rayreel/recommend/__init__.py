"""What is recommended: exact neighbours from memory, diversity, users, and why."""
