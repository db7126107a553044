#!/bin/sh
# Fails if proto/gen is not what `npm run generate` would make of the .proto files, or if a .proto file breaks its past.
set -eu
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
buf generate --template "$(sed "s|out: proto/gen|out: $fresh|; s|clean: true||" buf.gen.yaml)"
diff -r "$fresh" proto/gen >&2 || { echo "proto/gen is stale: run npm run generate, and commit" >&2; exit 1; }
# The past is the newest release tag, or what main was before this change; a repository with neither has no past.
past=$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse --verify --quiet HEAD~1 || true)
if [ -n "$past" ] && git cat-file -e "$past:proto/rollcall" 2>/dev/null; then
  buf breaking --against ".git#ref=$past"
fi
