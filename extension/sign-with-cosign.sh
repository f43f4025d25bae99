#!/bin/sh
# Signs what `make release SIGN=extension/sign-with-cosign.sh` calls it with: `file PATH`, or `image NAME@DIGEST`.
set -eu
case $1 in
    image) exec cosign sign --yes "$2" ;;
    file) exec cosign sign-blob --yes --bundle "$2.sigstore.json" "$2" ;;
    *) echo "sign-with-cosign: no such kind: $1" >&2; exit 1 ;;
esac
