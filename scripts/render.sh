#!/bin/bash
# render.sh IMAGE FOLDER: copies the files to deploy into a folder, with a published image, such as name:1.2.3@sha256:…, in the place
# of one that is built locally. So they can be pasted as they are.
set -euo pipefail
image=${1:?usage: render.sh IMAGE FOLDER}
folder=${2:?usage: render.sh IMAGE FOLDER}
if [[ ! $image =~ ^[a-z0-9./:_-]+@sha256:[0-9a-f]{64}$ ]]; then
    echo "$image is not the name of an image with its digest" >&2
    exit 1
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/.."

find compose.example.yml deploy -type f | while read -r file; do
    mkdir -p "$folder/$(dirname "$file")"
    sed -E \
        -e "s|^( *(- )?image: )evolution-openai-patch( *#.*)?\$|\1$image|" \
        -e "s|(\"image\": \")evolution-openai-patch(:latest)?\"|\1$image\"|" \
        -e '/^ *build: \.\.?$/d' "$file" >"$folder/$file"
done

if grep -rnE '(image"?: "?evolution-openai-patch|^ *build:)' "$folder" >&2; then
    echo "these lines were not rendered" >&2
    exit 1
fi
