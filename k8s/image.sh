#!/bin/sh
# The steps of k8s/Dockerfile, each an ordinary command:
#   image.sh wheel SOURCE OUT                   build the package
#   image.sh install PYTHON WHEELS CONSTRAINTS  install it, in the versions of constraints.txt
#   image.sh weights PYTHON bake|mount FOLDER   fetch the default preset's weights, or leave them to a volume
# and one for the overlays:
#   image.sh pin OVERLAY                        print an `images:` list that pins every image of an overlay by digest
set -eu

wheel() {
    # As an absolute path: pip takes a bare word for the name of somebody else's package, and would fetch and run it.
    source=$(cd "$1" && pwd)
    python -m pip wheel --no-deps --wheel-dir "$2" "$source"
}

install() {
    if [ -n "${TORCH:-}" ]; then
        # Together: builds of torch, torchaudio and torchvision that differ do not import each other.
        # shellcheck disable=SC2086
        "$1" -m pip install --no-cache-dir ${TORCH} $(grep -E '^(torch|torchaudio|torchvision)==' "$3")
    fi
    built=$(ls "$2"/rayreel-*.whl)
    "$1" -m pip install --no-cache-dir -c "$3" "$built[s3,k8s]"
}

weights() {
    if [ "$2" = bake ]; then
        RAYREEL_ENCODERS__CACHE_DIR="$3" "$1" -c '
from rayreel.encoders.load import load_encoders
from rayreel.settings import load_settings
settings = load_settings()
load_encoders(settings.encoders, settings.weights_cache)'
    fi
}

pin() {
    rendered=$(kubectl kustomize "$1")
    echo "images:"
    printf '%s\n' "$rendered" | sed -n 's/^ *\(- \)\{0,1\}image: *//p' | sort -u | grep -v @sha256: | while read -r image; do
        digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
        printf -- '  - name: %s\n    digest: %s\n' "${image%:*}" "$digest"
    done
}

"$@"
