# yyjson: the JSON reader and writer, without fast floats, pointers and patches, comments and the like.
LIB := libyyjson.a
SRCS := src/yyjson.c
HEADERS := src/yyjson.h
DEFS := -DYYJSON_DISABLE_FAST_FP_CONV -DYYJSON_DISABLE_UTILS -DYYJSON_DISABLE_NON_STANDARD
include toolchain/deps/common.mk
