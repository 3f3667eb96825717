"""The generated sample set: a plan of short, labelled clips, and of the people who watch them."""
