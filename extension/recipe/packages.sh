# Lists the exact packages of a tree: name, version, architecture, sha256 of the archive. $1 is its root; runs
# while the downloaded archives are still there.
set -eu
root=$1

for deb in "$root"/var/cache/apt/archives/*.deb; do
  fields=$(dpkg-deb --show --showformat='${Package}\t${Version}\t${Architecture}' "$deb")
  printf '%s\t%s\n' "$fields" "$(sha256sum <"$deb" | cut -d' ' -f1)"
done | sort >"$root/packages.tsv"
