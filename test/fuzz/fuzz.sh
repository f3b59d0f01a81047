#!/bin/sh
# Fuzzes one target with libFuzzer: test/fuzz/fuzz.sh image 60 [folder with inputs...]
# New inputs go to out/fuzz/TARGET; what is worth keeping moves to test/fuzz/corpus/TARGET, which `meson test` runs.
# Needs the package libclang-rt-14-dev, and a finished build folder (for what is not fuzzed itself).
set -eu
cd "$(dirname "$0")/../.."
target=$1 seconds=$2
shift 2
build=${BUILD:-build}
out=out/fuzz
# coverage.cc replaces a function of the runtime, hence --allow-multiple-definition.
runtime=$(ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-x86_64.a | tail -1)
flags="-std=c++23 -g -O1 -D_GNU_SOURCE -Iinclude -I. -I$build/images"
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all"
coverage="-fsanitize-coverage=trace-pc,trace-cmp"
mkdir -p "$out/$target" "$out/obj"
for source in criu/image/*.cc criu/crit/*.cc criu/parse/*.cc test/fuzz/image_targets.cc test/fuzz/parser_targets.cc; do
    object=$out/obj/$(echo "$source" | tr / _).o
    [ "$object" -nt "$source" ] && [ -z "$(find include criu "$build/images" -name '*.h*' -newer "$object" | head -1)" ] ||
        echo "$source $object"
done | xargs -r -P2 -n2 sh -c "${CXX:-g++} $flags $sanitize $coverage -c \$0 -o \$1"
${CXX:-g++} $flags $sanitize test/fuzz/libfuzzer.cc test/fuzz/coverage.cc "$out"/obj/*.o "$build/criu/libcriu_core.a" \
    "$build/images/libimages.a" "$runtime" -Wl,--allow-multiple-definition -lprotobuf -lfmt -lpthread -o "$out/fuzzer"
corpus=test/fuzz/corpus/$target
[ -d "$corpus" ] || corpus=
export FUZZ_TARGET="$target"
exec "$out/fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$out/crash-" \
    "$out/$target" $corpus "$@"
