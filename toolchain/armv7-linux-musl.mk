# 32-bit ARM, ARMv7-A, Thumb-2, hard float.
TC_CROSS := arm-linux-gnueabihf-
TC_ARCH := -march=armv7-a+fp -mthumb -mfloat-abi=hard
RUN ?= qemu-arm
include toolchain/musl.mk
