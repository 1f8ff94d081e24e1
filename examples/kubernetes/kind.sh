#!/usr/bin/env bash
# Makes a kind cluster with virtual GPUs, builds and loads both images, installs the chart, applies the example, waits until
# the operator tells of it, and runs those end-to-end tests against it that any cluster can take. Wants docker, kind,
# kubectl and helm, and for the tests the checkout's .venv (`make kind` makes it, and calls this).
#
#     examples/kubernetes/kind.sh            make it and run the suite
#     examples/kubernetes/kind.sh --keep     the same, and leave the cluster
#     examples/kubernetes/kind.sh --no-tests --keep
set -euo pipefail
cd "$(dirname "$0")/../.."

keep=false tests=true
for word in "$@"; do
    case $word in
    --keep) keep=true ;;
    --no-tests) tests=false ;;
    *)
        echo "$word: write --keep, --no-tests, or nothing" >&2
        exit 2
        ;;
    esac
done
for program in docker kind kubectl helm; do
    command -v "$program" >/dev/null || {
        echo "$program is missing: docs/kubernetes.md says what this needs" >&2
        exit 1
    }
done
docker info >/dev/null || {
    echo "docker does not answer: start its daemon" >&2
    exit 1
}

KUBECONFIG=$(mktemp)
export KUBECONFIG
clean() {
    "$keep" || kind delete cluster --name wattlease
    "$keep" && echo "The cluster stays: export KUBECONFIG=$KUBECONFIG; kind delete cluster --name wattlease ends it."
    return 0
}
trap clean EXIT

for part in operator agent; do
    docker build --file "packaging/$part/Containerfile" --tag "wattlease-$part:trial" .
done
kind create cluster --config kind-config.yaml --wait 120s
kind load docker-image --name wattlease wattlease-operator:trial wattlease-agent:trial

# Nobody else tells of GPUs here; a kubelet keeps a capacity that it does not manage.
for node in $(kubectl get nodes --selector nvidia.com/gpu.present=true --output name); do
    kubectl patch "$node" --subresource status --type json \
        --patch '[{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "8"}]'
done

# The chart's own story first, which begins and ends with nothing of ours but the definitions and the users' objects.
if "$tests"; then
    E2E_KUBE=1 E2E_KUBECONFIG=$KUBECONFIG .venv/bin/pytest -ra tests/e2e/kube/test_chart_real_kube.py \
        -k 'not kueue and not rights'
    helm uninstall wattlease --namespace wattlease --wait
    kubectl delete powerbudgets --all
fi

kubectl create namespace wattlease --dry-run=client --output yaml | kubectl apply --filename -
kubectl label namespace wattlease --overwrite pod-security.kubernetes.io/enforce=privileged
helm install wattlease helm/wattlease --namespace wattlease --values examples/kubernetes/values-virtual.yaml \
    --wait --timeout 5m
kubectl apply --filename examples/kubernetes/hall.yaml
kubectl wait powerbudget/hall --for condition=Ready --timeout 60s
kubectl get powerbudgets --output wide

if "$tests"; then
    E2E_KUBE=1 E2E_KUBECONFIG=$KUBECONFIG .venv/bin/pytest -ra tests/e2e/kube/test_given_cluster.py
fi
