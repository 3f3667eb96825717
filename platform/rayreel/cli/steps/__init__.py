"""What the commands do: each step runs a part of the library and shows its result. Imports Ray, torch and MLflow."""
