# libmicrohttpd: the plain HTTP server, see deps/libmicrohttpd/MHD_config.h.
LIB := libmicrohttpd.a
SRCS := $(patsubst %,src/microhttpd/%.c,connection reason_phrase daemon internal memorypool mhd_mono_clock mhd_str \
	mhd_send mhd_sockets mhd_itc mhd_compat mhd_panic response mhd_threads)
HEADERS := src/include/microhttpd.h
DEFS := -Itoolchain/deps/libmicrohttpd -I$(SRC)/src/include -I$(SRC)/src/microhttpd -D_GNU_SOURCE \
	-D_FILE_OFFSET_BITS=64 -DMHD_CONFIG_VERSION='"$(VERSION)"' -DNDEBUG
include toolchain/deps/common.mk
