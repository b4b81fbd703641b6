#!/usr/bin/env bash
# Whether the programs still compile for macOS, as far as any other machine can tell: the compiler checks all of our code and
# that of our dependencies against macOS's standard library and system calls. Their C is left out, so nothing is linked
# and nothing runs.
set -euo pipefail

cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

TARGET=aarch64-apple-darwin

if ! rustc --print target-libdir --target "$TARGET" 2>/dev/null | xargs -I{} test -d {}; then
  rustup target add "$TARGET" >/dev/null 2>&1 || {
    echo "macos-check: Rust's standard library for $TARGET cannot be had here: MACOS IS NOT CHECKED"
    exit 0
  }
fi

TOOLS=$(mktemp -d)
trap 'rm -rf "$TOOLS"' EXIT

# A C compiler and an archiver that make what they are asked for, and nothing in it.
cat >"$TOOLS/cc" <<'CC'
#!/bin/sh
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then shift; : >"$1"; fi
  shift
done
CC
cat >"$TOOLS/ar" <<'AR'
#!/bin/sh
for word in "$@"; do
  case $word in *.a) : >"$word" ;; esac
done
AR
chmod +x "$TOOLS/cc" "$TOOLS/ar"

# What these libraries' own build scripts would do is said to be done.
for library in rdkafka jemalloc zstd z; do
  printf '[target.%s.%s]\nrustc-link-lib = ["%s"]\n' "$TARGET" "$library" "$library"
done >"$TOOLS/config.toml"

export CC_aarch64_apple_darwin=$TOOLS/cc CXX_aarch64_apple_darwin=$TOOLS/cc AR_aarch64_apple_darwin=$TOOLS/ar SDKROOT=/
cargo clippy --quiet --config "$TOOLS/config.toml" --locked --target "$TARGET" \
  --features producer,tracker,monitor,dlq,audit -- -D warnings
