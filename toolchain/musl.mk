# What the musl toolchains share: a small, hardened, static position-independent executable.
# musl has no FORTIFY and no CET start files, so neither is asked for.
TC_MUSL := 1
TC_CC := $(TC_CROSS)gcc
TC_CFLAGS := $(TC_ARCH) -Os -g -fPIE -fno-plt -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables \
	-fno-unwind-tables -fstack-protector-strong -fno-ident
TC_LDFLAGS := $(TC_ARCH) -static-pie -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,text \
	-Wl,--build-id=none -Wl,--hash-style=gnu -Wl,--version-script=toolchain/static.ver
# Needs the inlining of -O2 to know what it says; the host build has it.
TC_OWN := -Wno-format-truncation
