# mbedTLS, as config/mbedtls_config.h says: one archive of TLS, X.509 and crypto.
LIB := libmbedtls.a
SRCS := $(patsubst $(SRC)/%,%,$(sort $(wildcard $(SRC)/library/*.c)))
DEFS := -I$(OUT)/include -I$(SRC)/library
PREREQS := $(OUT)/include/.config
include toolchain/deps/common.mk

$(OUT)/include/.config: config/mbedtls_config.h
	mkdir -p $(@D)
	cp -R $(SRC)/include/mbedtls $(SRC)/include/psa $(@D)/
	cp $< $(@D)/mbedtls/mbedtls_config.h
	touch $@
