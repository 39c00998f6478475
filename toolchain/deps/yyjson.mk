# yyjson: the JSON reader and writer, without fast floats, pointers and patches, comments and the like.
LIB := libyyjson.a
SRCS := src/yyjson.c
HEADERS := src/yyjson.h
SEEN := YYJSON_DISABLE_FAST_FP_CONV=1 YYJSON_DISABLE_UTILS=1 YYJSON_DISABLE_NON_STANDARD=1
DEFS := $(SEEN:%=-D%)
include toolchain/deps/common.mk
