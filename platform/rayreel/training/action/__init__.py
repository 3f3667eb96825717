"""End-to-end training of a video network: clips and their categories become a visual encoder."""
