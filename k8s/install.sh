#!/bin/sh
# Install an overlay on the cluster of kubectl's current context, or bring it up to date:
#   sh k8s/install.sh local|gpu|production
# It checks what the cluster needs, creates namespaces and missing secrets, applies the overlay, publishes the jobs of the
# schedule, and waits until the service is ready. It can be run again at any time.
set -eu
cd "$(dirname "$0")/.."
overlay=${1:?"usage: sh k8s/install.sh local|gpu|production"}
python=${PYTHON:-python}
wait_s=${WAIT_S:-1200}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

needs() { # needs NAME-OF-CRD WHO-PROVIDES-IT
    kubectl get crd "$1" >/dev/null 2>&1 || fail "The cluster has no $1. Install $2: k8s/README.md, What the cluster needs."
}

has_secret() {
    kubectl -n "$1" get secret "$2" >/dev/null 2>&1
}

test -f "k8s/overlays/$overlay/kustomization.yaml" ||
    fail "There is no overlay $overlay. Overlays: $(ls k8s/overlays | tr '\n' ' ')"
kubectl get namespace default >/dev/null || fail "The cluster cannot be reached. Check: kubectl config current-context"

echo "1. What the cluster needs"
needs rayservices.ray.io "the KubeRay operator"
if [ "$overlay" != local ]; then
    needs podmonitors.monitoring.coreos.com "the Prometheus operator"
fi
if [ "$overlay" = production ]; then
    needs gateways.gateway.networking.k8s.io "the Gateway API's CRDs (without them, the RayService silently gets no cluster)"
    needs milvuses.milvus.io "the Milvus operator"
fi

echo "2. Namespaces"
kubectl apply -f k8s/base/namespace.yaml
if [ "$overlay" = production ]; then
    kubectl apply -f k8s/milvus-cluster/namespace.yaml
fi

echo "3. Secrets"
if [ "$overlay" = production ]; then
    missing=""
    for secret in $("$python" k8s/secrets_file.py production --names); do
        has_secret "${secret%/*}" "${secret#*/}" || missing="$missing $secret"
    done
    test -z "$missing" || fail "Missing secrets:$missing" \
        "Create them: python k8s/secrets_file.py production > secrets.yaml; replace each CHANGE; kubectl apply -f secrets.yaml" \
        "Certificates: k8s/README.md, production. Then run this again."
elif ! has_secret rayreel rayreel-redis; then
    "$python" k8s/secrets_file.py "$overlay" | kubectl apply -f - # once: stores keep their first passwords
fi

echo "4. Stores, service and accounts"
kubectl apply -k "k8s/overlays/$overlay"

if [ "$overlay" != local ]; then
    echo "5. Jobs of the schedule"
    "$python" k8s/submit.py publish --overlay "$overlay"
fi

echo "Waiting for the service. In another terminal: kubectl -n rayreel get pods --watch"
kubectl -n rayreel wait rayservice/rayreel --for=condition=Ready --timeout="${wait_s}s" || fail \
    "The service is not ready after $wait_s s. Look at: kubectl -n rayreel describe rayservice rayreel" \
    "and: kubectl -n rayreel get events --field-selector type=Warning"
echo "The service is ready. Next: k8s/README.md, The first recommendation"
