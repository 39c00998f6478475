# 64-bit RISC-V, rv64gc.
TC_CROSS := riscv64-linux-gnu-
TC_ARCH := -march=rv64gc -mabi=lp64d
RUN ?= qemu-riscv64
include toolchain/musl.mk
