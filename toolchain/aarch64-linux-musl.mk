# 64-bit ARM. Atomics inline, not through libgcc's run-time choice.
TC_CROSS := aarch64-linux-gnu-
TC_ARCH := -mno-outline-atomics
RUN ?= qemu-aarch64
include toolchain/musl.mk
