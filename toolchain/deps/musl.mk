# musl libc with its gcc specs, and the kernel's headers beside it. The specs name FINAL, where the
# tree will stand.
MAKEOVERRIDES :=
FLAGS := $(filter-out -fstack-protector-strong -fno-plt,$(CFLAGS)) -ffile-prefix-map=$(SRC)=$(NAME) -ffile-prefix-map=$(OUT)=$(NAME)

all:
	mkdir -p $(OUT)/work
	cd $(OUT)/work && CC='$(CC)' CFLAGS='$(FLAGS)' AR='$(AR)' RANLIB='$(CROSS)ranlib' $(SRC)/configure \
		--target=$(TARGET) --prefix=$(FINAL) --syslibdir=$(FINAL)/lib --disable-shared --enable-wrapper=gcc
	$(MAKE) -C $(OUT)/work
	$(MAKE) -C $(OUT)/work install DESTDIR=$(OUT)/dest
	mv $(OUT)/dest$(FINAL)/* $(OUT)/
	rm -rf $(OUT)/dest $(OUT)/work
	# The MIPS driver adds -EB by itself, and refuses it where, as in musl's specs, nothing takes it.
	case $(TARGET) in mips*) sed -i 's/^%(cc1_cpu)/& %{EB:-meb} %{EL:-mel}/' $(OUT)/lib/musl-gcc.specs ;; esac
	for d in linux asm asm-generic mtd; do \
		h=types.h; [ $$d != mtd ] || h=mtd-abi.h; \
		f=$$(echo "#include <$$d/$$h>" | $(CC) -E -M -x c - | tr -d '\\' | tr ' ' '\n' | grep "/$$d/$$h$$" | head -1); \
		[ -n "$$f" ] || { echo "no kernel header $$d/$$h for $(CC)"; exit 1; }; \
		cp -RL $$(dirname $$f) $(OUT)/include/; \
	done
.PHONY: all
