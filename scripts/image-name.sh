#!/bin/bash
# image-name.sh REGISTRY OWNER/REPOSITORY: prints the name of the released image, in lower case as registries require.
set -euo pipefail
registry=${1:?usage: image-name.sh REGISTRY OWNER/REPOSITORY}
repository=${2:?usage: image-name.sh REGISTRY OWNER/REPOSITORY}
if [[ ! $registry =~ ^[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._-]+)*$ ]]; then
    echo "the variable REGISTRY is to be a host, such as ghcr.io, without https:// and without / at its end" >&2
    exit 1
fi
echo "${registry,,}/${repository,,}"
