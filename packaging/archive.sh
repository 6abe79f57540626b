#!/usr/bin/env bash
# Makes the archive of a release: the program, manual pages, completions, licence.
# Usage: archive.sh VERSION TARGET PROGRAM MAN_PAGES OUTPUT, with paths from the root of the repository
set -euo pipefail

version=$1 target=$2 program=$3 man_pages=$4 output=$5
name=mcp-bridge-$version-$target
folder=$output/$name
cd "$(dirname "$0")/.."

mkdir -p "$folder/completions"
cp "$program" README.md CHANGELOG.md LICENSE "$folder"
cp -R "$man_pages" "$folder/man"
"$program" completions bash >"$folder/completions/mcp-bridge.bash"
"$program" completions zsh >"$folder/completions/_mcp-bridge"
"$program" completions fish >"$folder/completions/mcp-bridge.fish"
"$program" completions powershell >"$folder/completions/_mcp-bridge.ps1"

cd "$output"
case $target in
*-windows-*) powershell -NoProfile -Command "Compress-Archive -Path '$name' -DestinationPath '$name.zip'" ;;
*) tar -czf "$name.tar.gz" "$name" ;;
esac
rm -r "$name"
