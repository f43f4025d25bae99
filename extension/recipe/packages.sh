# Lists the exact packages of a tree (name, version, architecture, sha256 of the archive) and which package each
# file is of. $1 is its root; runs while the downloaded archives are still there.
set -eu
root=$1

for deb in "$root"/var/cache/apt/archives/*.deb; do
  fields=$(dpkg-deb --show --showformat='${Package}\t${Version}\t${Architecture}' "$deb")
  printf '%s\t%s\n' "$fields" "$(sha256sum <"$deb" | cut -d' ' -f1)"
  package=${fields%%	*}
  dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n "/[^/]$/s|^\./\(.*\)|\1	$package|p" >>"$root/files.part"
done | sort >"$root/packages.tsv"
sort "$root/files.part" >"$root/files.tsv"
rm "$root/files.part"
