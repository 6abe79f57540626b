#!/usr/bin/env bash
# Prints the Homebrew formula for a release. Usage: fill.sh VERSION REPOSITORY_URL SHA256SUMS
set -euo pipefail

version=$1 repository=$2 sums=$3
formula=$(<"$(dirname "$0")/mcp-bridge.rb")
formula=${formula//@VERSION@/$version}
formula=${formula//@REPOSITORY@/$repository}
while read -r sum name; do
  target=${name#mcp-bridge-"$version"-}
  formula=${formula//@SHA256:${target%.tar.gz}@/$sum}
done <"$sums"
if grep -n '@[A-Z0-9]*[:@]' <<<"$formula" >&2; then
  echo "fill.sh: $sums has no sum for these" >&2
  exit 1
fi
printf '%s\n' "$formula"
