"""Code that depends on the internals of other libraries: patches, private modules, undocumented variables and files.

No other part touches internals (tests/test_architecture.py). pyproject.toml pins these libraries with `~=`, so that a
new minor version is a decision. tests/compat runs the libraries unpatched, and fails when one needs no patch any more.
"""
