"""What the node groups of k8s/ and ray_cluster.yaml are labelled with."""

CPU_POOL = {"rayreel.io/pool": "cpu"}
GPU_POOL = {"rayreel.io/pool": "gpu"}
