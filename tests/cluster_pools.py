"""The labels of the node groups in k8s/ and ray_cluster.yaml."""

CPU_POOL = {"rayreel.io/pool": "cpu"}
GPU_POOL = {"rayreel.io/pool": "gpu"}
