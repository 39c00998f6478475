# 64-bit PC, x86-64 baseline.
TC_CROSS := x86_64-linux-gnu-
TC_ARCH :=
TC_KERNEL := x86_64-linux-gnu
RUN ?=
include toolchain/musl.mk
