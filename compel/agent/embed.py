#!/usr/bin/env python3
"""usage: embed.py BLOB OUT.cc - turns the agent's bytes into a C++ array."""
import sys

blob = open(sys.argv[1], "rb").read()
with open(sys.argv[2], "w") as out:
    out.write('#include "compel/blob.hh"\n\nnamespace compel {\nnamespace {\n')
    out.write("alignas(16) constexpr unsigned char kBytes[] = {\n")
    for i in range(0, len(blob), 16):
        out.write("    " + "".join("%d," % b for b in blob[i : i + 16]) + "\n")
    out.write("};\n} // namespace\n\n")
    out.write("std::span<const std::byte> agent_blob() { return std::as_bytes(std::span(kBytes)); }\n")
    out.write("} // namespace compel\n")
