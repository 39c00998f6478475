# 32-bit MIPS, big-endian, MIPS32 release 2, o32.
TC_CROSS := mips-linux-gnu-
TC_ARCH := -march=mips32r2
# 64-bit atomics are calls here.
TC_LIBS := -latomic
RUN ?= qemu-mips
include toolchain/musl.mk
