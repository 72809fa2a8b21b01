#!/bin/bash
# release.sh TAG IMAGE FOLDER: makes what a GitHub release gets, in a folder: an archive with the static binary for each platform, the
# files to deploy with IMAGE (name:version@digest) in them, and SHA256SUMS. The text of the release goes to FOLDER.md. The same commit
# gives the same bytes.
set -euo pipefail
tag=${1:?usage: release.sh TAG IMAGE FOLDER}
image=${2:?usage: release.sh TAG IMAGE FOLDER}
folder=${3:?usage: release.sh TAG IMAGE FOLDER}
changes=$("$(dirname "$0")/changelog.sh" "$tag")
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/.."
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
name=evolution-openai-patch_${tag#v}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$folder.md" <<END
$changes

The image, for linux/amd64, linux/arm64 and linux/arm/v7:

    $image

The files below have it filled in. CONTRIBUTING.md says how to verify the image and the checksums.
END

# pack FOLDER: the archive of a folder, the same for the same content.
pack() {
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
        -C "$work" -cf - "$(basename "$1")" | gzip -9n >"$folder/$(basename "$1").tar.gz"
}

for platform in ${PLATFORMS:-linux/amd64 linux/arm64 linux/arm/v7}; do
    IFS=/ read -r os arch variant <<<"$platform"
    dir=$work/${name}_${platform//\//_}
    mkdir "$dir"
    GOOS=$os GOARCH=$arch GOARM=${variant#v} scripts/build.sh "$dir/evolution-openai-patch" "$tag"
    cp LICENSE THIRD_PARTY_NOTICES README.md "$dir"
    pack "$dir"
done

scripts/render.sh "$image" "$work/${name}_deploy"
pack "$work/${name}_deploy"
cp "$work/${name}_deploy/compose.example.yml" "$work/${name}_deploy"/deploy/*.* "$folder"
cd "$folder"
sha256sum -- * >SHA256SUMS
