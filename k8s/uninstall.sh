#!/bin/sh
# Remove an overlay, with all its data, from the cluster of kubectl's current context:
#   sh k8s/uninstall.sh local|gpu|production --delete-all-data
# Ray clusters go first: their state in Redis is removed by a Job, which a terminating namespace refuses. If the namespace
# is being deleted already, this removes the finalizers that wait for that Job.
set -eu
cd "$(dirname "$0")/.."
overlay=${1:-}
if [ "${2:-}" != --delete-all-data ] || [ ! -d "k8s/overlays/$overlay" ]; then
    echo "usage: sh k8s/uninstall.sh local|gpu|production --delete-all-data" >&2
    exit 2
fi
wait_s=${WAIT_S:-600}

phase=$(kubectl get namespace rayreel --ignore-not-found -o 'jsonpath={.status.phase}')
if [ "$phase" = Terminating ]; then
    for cluster in $(kubectl -n rayreel get rayclusters -o name); do
        kubectl -n rayreel patch "$cluster" --type=merge -p '{"metadata":{"finalizers":null}}'
    done
elif [ -n "$phase" ]; then
    kubectl -n rayreel delete cronjob rayreel-refresh --ignore-not-found # or it submits new jobs
    kubectl -n rayreel delete rayjobs,rayservices --all --timeout="${wait_s}s"
    kubectl -n rayreel delete rayclusters --all --timeout="${wait_s}s"
fi
kubectl delete -k "k8s/overlays/$overlay" --ignore-not-found --timeout="${wait_s}s"
