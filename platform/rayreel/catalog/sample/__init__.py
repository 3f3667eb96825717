"""The generated sample set: plans of short, labelled clips and simulated viewers."""
