#!/bin/sh
# Renew the hashed locks from pyproject.toml, the widest first so that all agree.
# Run by `make lock`; what it writes holds names, versions and hashes, and no address of any registry.
set -eu
cd "$(dirname "$0")/../.."
compile() {
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links "$@"
}
compile pyproject.toml --extra local --extra dev -o infra/locks/dev.lock
compile pyproject.toml --extra local -c infra/locks/dev.lock -o infra/locks/local.lock
compile pyproject.toml -c infra/locks/dev.lock -o layers/vendor/requirements.txt
