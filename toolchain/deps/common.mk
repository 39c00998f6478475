# How a library is built. Called by the Makefile under a lock, as
#   make -f toolchain/deps/NAME.mk SRC=… OUT=… NAME=… CC=… AR=… CFLAGS=…
# A library's file names SRCS (below SRC), DEFS, HEADERS (below SRC) and LIB; SEEN are settings
# that its callers must see too: they are written into its first header.
HASH := \#
OBJS := $(patsubst %.c,$(OUT)/obj/%.o,$(SRCS))

all: $(OUT)/lib/$(LIB) headers

$(OUT)/lib/$(LIB): $(OBJS)
	mkdir -p $(@D)
	rm -f $@
	$(AR) rcsD $@ $^

$(OUT)/obj/%.o: $(SRC)/%.c $(PREREQS)
	mkdir -p $(@D)
	$(CC) $(CFLAGS) -w -ffile-prefix-map=$(SRC)=$(NAME) $(DEFS) -c $< -o $@

headers: $(PREREQS)
	mkdir -p $(OUT)/include
	$(foreach h,$(HEADERS),cp -R $(SRC)/$(h) $(OUT)/include/;)
	$(foreach d,$(SEEN),sed -i '1i $(HASH)define $(subst =, ,$(d))' $(OUT)/include/$(notdir $(firstword $(HEADERS)));)
.PHONY: all headers
