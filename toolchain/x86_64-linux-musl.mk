# 64-bit PC, x86-64 baseline.
TC_CROSS := x86_64-linux-gnu-
TC_ARCH :=
RUN ?=
include toolchain/musl.mk
# Relative relocations in a packed form, which musl reads and this linker can write: 5 % of the file.
TC_LDFLAGS += -Wl,-z,pack-relative-relocs
