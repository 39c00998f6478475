# postern. `make help` lists the targets; toolchain/ holds the compilers and the libraries.

TC ?= host
B := build/$(TC)
VERSION := 0.1.0
CACHE := $(abspath $(or $(POSTERN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/postern))
ROOMS := base log settings job store net mail smtp provider queue inbound api health cli app
PLATFORMS := linux sim none
LIBRARIES := sqlite mbedtls inih yyjson libmicrohttpd

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
V ?= 0
Q := $(if $(filter 0,$(V)),@)
say = $(if $(filter 0,$(V)),@printf '  %-7s %s\n' $(1) $(2))

ifeq ($(wildcard toolchain/$(TC).mk),)
$(error TC=$(TC): no such toolchain; there are $(filter-out musl,$(basename $(notdir $(wildcard toolchain/*.mk)))))
endif
include toolchain/$(TC).mk

ifdef TC_FUZZ
all: fuzz ## build the product of TC: build/TC/postern (TC=host-fuzz: the fuzz programs)
else
all: $(B)/postern
endif

BARE := help clean setup demo test tidy format size figures bench bench-programs reproducible
ifneq ($(filter-out $(BARE),$(or $(MAKECMDGOALS),all)),)

# ---- Libraries: fetched and built once, in a cache outside the tree ----------------------------

stale := $(shell test -f build/deps.mk && grep -q '^sqlite.src := $(CACHE)/' build/deps.mk && \
	for d in $$(sed -n 's/.*\.src := //p' build/deps.mk); do test -d $$d || echo stale; done || echo stale)
build/deps.mk: toolchain/deps.lock scripts/fetch-deps $(wildcard toolchain/patches/*) $(if $(stale),FORCE)
	$(Q)POSTERN_CACHE=$(CACHE) scripts/fetch-deps --out $@
include build/deps.mk

compiler := $(shell LC_ALL=C $(TC_CC) --version 2>/dev/null | head -n 1)
ifeq ($(compiler),)
$(error TC=$(TC): $(TC_CC) is not installed; `make setup` installs what builds and tests need)
endif
AR := $(TC_CROSS)ar
# A library's place in the cache is named by all that its bytes depend on.
# $(1) name, $(2) further files, $(3) further words
dep_hash = $(shell { cat toolchain/deps/common.mk toolchain/deps/$(1).mk $(2); echo '$(3)'; } | sha256sum | cut -c 1-12)
dep_tc = $($(1).key) $(TC_CC) $(compiler) $(TC_CFLAGS) $(musl.out)

ifdef TC_MUSL
musl.out := $(CACHE)/$(TC)/musl-$(musl.version)-$(call dep_hash,musl,,$(musl.key) $(compiler) $(TC_CFLAGS))
CC := $(TC_CC) -specs=$(musl.out)/lib/musl-gcc.specs
$(musl.out)/.ok:
	+$(Q)toolchain/build-dep $(@D) toolchain/deps/musl.mk SRC=$(musl.src) NAME=musl-$(musl.version) \
		CROSS=$(TC_CROSS) CC='$(TC_CC)' AR='$(AR)' CFLAGS='$(TC_CFLAGS)' TARGET=$(TC)
MUSL_OK := $(musl.out)/.ok
else
CC := $(TC_CC)
endif

sqlite3c.out := $(CACHE)/any/sqlite3c-$(sqlite.version)-$(call dep_hash,sqlite3c,config/sqlite.mk,$(sqlite.key))
$(sqlite3c.out)/.ok:
	+$(Q)toolchain/build-dep $(@D) toolchain/deps/sqlite3c.mk SRC=$(sqlite.src) BUILD_CC=gcc

dep_files.sqlite := config/sqlite.mk
dep_files.mbedtls := config/mbedtls_config.h
dep_files.libmicrohttpd := toolchain/deps/libmicrohttpd/MHD_config.h
define dep
$(1).out := $$(CACHE)/$$(TC)/$(1)-$$($(1).version)-$$(call dep_hash,$(1),$$(dep_files.$(1)),$$(call dep_tc,$(1)))
$$($(1).out)/.ok: | $$(MUSL_OK) $(2)
	+$$(Q)toolchain/build-dep $$(@D) toolchain/deps/$(1).mk SRC=$(or $(3),$$($(1).src)) NAME=$(1)-$$($(1).version) \
		VERSION=$$($(1).version) CC='$$(CC)' AR='$$(AR)' CFLAGS='$$(TC_CFLAGS)'
endef
$(eval $(call dep,sqlite,$(sqlite3c.out)/.ok,$(sqlite3c.out)))
$(foreach d,mbedtls inih yyjson libmicrohttpd cmocka,$(eval $(call dep,$(d))))

DEPS_OK := $(foreach d,$(LIBRARIES),$($(d).out)/.ok)
DEPS_INC := $(foreach d,$(LIBRARIES),-isystem $($(d).out)/include)
DEPS_A := $(sqlite.out)/lib/libsqlite3.a $(libmicrohttpd.out)/lib/libmicrohttpd.a $(mbedtls.out)/lib/libmbedtls.a \
	$(inih.out)/lib/libinih.a $(yyjson.out)/lib/libyyjson.a

deps: $(DEPS_OK) $(cmocka.out)/.ok ## fetch and build the libraries of TC

# ---- Own code ----------------------------------------------------------------------------------

OWN := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
	-Wdate-time -ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(CACHE)=deps $(TC_OWN)
INC := -Ifirmware -Ihal -Iplatform -Iconfig -I$(B)/gen $(DEPS_INC)
COMPILE := $(CC) $(TC_CFLAGS) $(OWN) $(INC)
LINK := $(CC) $(TC_CFLAGS) $(TC_LDFLAGS)
LIBS := $(DEPS_A) $(TC_LIBS) -lpthread -lm

# Objects are made anew when the command that made them changes.
$(B)/.flags: FORCE
	$(Q)mkdir -p $(@D)
	@echo '$(COMPILE) | $(LINK) $(LIBS) | $(compiler)' | cmp -s - $@ || echo '$(COMPILE) | $(LINK) $(LIBS) | $(compiler)' >$@

# The build time is the floor of the device's clock: the commit's, so that builds can be repeated.
build_time := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),$(shell stat -c %Y Makefile))
define build_info
/* Written by the Makefile. */
#ifndef BUILD_INFO_H
#define BUILD_INFO_H
#define POSTERN_VERSION "$(VERSION)"
#define POSTERN_BUILD_TIME $(build_time)LL
#define POSTERN_TARGET "$(TC)"
/* The libraries inside: define X(name, version), then use it. */
#define POSTERN_DEPS$(foreach d,$(LIBRARIES) $(if $(TC_MUSL),musl), X("$(d)", "$($(d).version)"))

#endif
endef
export build_info
$(B)/gen/build_info.h: FORCE
	$(Q)mkdir -p $(@D)
	@printf '%s\n' "$$build_info" | cmp -s - $@ || printf '%s\n' "$$build_info" >$@

$(B)/obj/%.o: %.c $(B)/.flags | $(B)/gen/build_info.h $(DEPS_OK)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -MMD -MP -c $< -o $@
define archive
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcsD $@ $(filter %.o,$^)
endef

# A room.mk sets ROOM and SRCS, a platform.mk sets SRCS; both relative to their folder.
define read_room
ROOM :=
SRCS :=
include firmware/$(1)/room.mk
ROOM_SRCS += $$(addprefix firmware/$(1)/,$$(SRCS))
endef
define read_platform
SRCS :=
include platform/$(1)/platform.mk
platform_srcs.$(1) := $$(patsubst $$(CURDIR)/%,%,$$(abspath $$(addprefix platform/$(1)/,$$(SRCS))))
endef
ROOM_SRCS :=
$(foreach r,$(ROOMS),$(if $(wildcard firmware/$(r)/room.mk),$(eval $(call read_room,$(r)))))
$(foreach p,$(PLATFORMS),$(if $(wildcard platform/$(p)/platform.mk),$(eval $(call read_platform,$(p)))))
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

$(B)/librooms.a: $(call objects,$(ROOM_SRCS)) Makefile $(wildcard firmware/*/room.mk)
	$(archive)
define platform_library
$(B)/libplatform-$(1).a: $(call objects,$(filter-out platform/linux/main.c,$(platform_srcs.$(1)))) $(wildcard platform/$(1)/platform.mk)
	$$(archive)
endef
$(foreach p,$(PLATFORMS),$(eval $(call platform_library,$(p))))

# $(1) objects, $(2) platform
link = $(LINK) -o $@ $(1) -Wl,--start-group $(B)/libplatform-$(2).a $(B)/librooms.a -Wl,--end-group

$(B)/postern.debug: $(B)/obj/platform/linux/main.o $(B)/librooms.a $(B)/libplatform-linux.a | $(DEPS_OK)
	$(call say,LINK,$@)
	$(Q)$(call link,$<,linux) $(LIBS) -Wl,-Map=$(B)/postern.map
	$(if $(TC_MUSL),$(Q)toolchain/check-product $@)

$(B)/postern: $(B)/postern.debug
	$(call say,STRIP,$@)
	$(Q)$(if $(TC_MUSL),$(TC_CROSS)strip -s -R .comment -R .note -o $@.new $<,cp $< $@.new)
	$(Q)mv -f $@.new $@

rooms: $(B)/librooms.a $(B)/libplatform-linux.a $(B)/libplatform-sim.a ## compile the rooms and platforms of TC, without linking

# ---- Tests -------------------------------------------------------------------------------------

TEST_INC := -Itest -Itest/lib -isystem $(cmocka.out)/include
UNIT_SRCS := $(wildcard test/unit/*/test_*.c)
CONTRACT_SRCS := $(wildcard test/contract/test_*.c)
DIALOGUE_SRCS := $(wildcard test/dialogue/test_*.c)
SCENARIO_SRCS := $(wildcard test/scenario/test_*.c)
FUZZ_SRCS := $(wildcard test/fuzz/fuzz_*.c)
TOOL_SRCS := $(wildcard test/integration/*.c)
UNIT := $(patsubst %.c,$(B)/%,$(UNIT_SRCS))
CONTRACT := $(foreach s,$(CONTRACT_SRCS),$(patsubst %.c,$(B)/%.linux,$(s)) $(patsubst %.c,$(B)/%.sim,$(s)))
DIALOGUE := $(patsubst %.c,$(B)/%,$(DIALOGUE_SRCS))
SCENARIO := $(patsubst %.c,$(B)/%,$(SCENARIO_SRCS))
FUZZ := $(patsubst %.c,$(B)/%,$(FUZZ_SRCS))
TOOLS := $(patsubst %.c,$(B)/%,$(TOOL_SRCS))

$(B)/obj/test/%.o: COMPILE += $(TEST_INC)
$(call objects,$(wildcard test/*/*.c test/unit/*/*.c)): | $(cmocka.out)/.ok
$(B)/libtest.a: $(call objects,$(wildcard test/lib/*.c))
	$(archive)

# $(1) program, $(2) source, $(3) platform
define test_program
$(1): $(call objects,$(2)) $(B)/libtest.a $(B)/librooms.a $(B)/libplatform-$(3).a | $(cmocka.out)/.ok $(DEPS_OK)
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(call link,$$< $$(B)/libtest.a,$(3)) $$(B)/libtest.a $$(B)/librooms.a $$(if $(4),,$$(cmocka.out)/lib/libcmocka.a) $$(LIBS)
endef
$(foreach s,$(UNIT_SRCS),$(eval $(call test_program,$(s:%.c=$(B)/%),$(s),$(if $(filter %_linux.c,$(s)),linux,sim))))
$(foreach s,$(CONTRACT_SRCS),$(foreach p,linux sim,$(eval $(call test_program,$(s:%.c=$(B)/%.$(p)),$(s),$(p)))))
$(foreach s,$(DIALOGUE_SRCS),$(eval $(call test_program,$(s:%.c=$(B)/%),$(s),sim)))
$(foreach s,$(SCENARIO_SRCS),$(eval $(call test_program,$(s:%.c=$(B)/%),$(s),sim)))
$(foreach s,$(TOOL_SRCS),$(eval $(call test_program,$(s:%.c=$(B)/%),$(s),linux,tool)))
$(foreach s,$(FUZZ_SRCS),$(eval $(call test_program,$(s:%.c=$(B)/%),$(s),sim,fuzz)))

# What `make bench` runs beside the product: plain programs, linked with none of the rooms.
$(B)/test/bench/sink: $(call objects,$(wildcard test/bench/sink*.c))
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $^
$(B)/test/bench/ceiling: $(B)/obj/test/bench/ceiling.o | $(sqlite.out)/.ok
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $< $(sqlite.out)/lib/libsqlite3.a $(TC_LIBS) -lm

# The certificates of the TLS tests: made here, the same for every TC.
build/certs/log: test/lib/make-certs
	$(call say,CERTS,build/certs)
	$(Q)$< $(@D)

tools: $(TOOLS) ## build the programs that the integration tests run beside the gateway
tests: $(UNIT) $(CONTRACT) $(DIALOGUE) $(SCENARIO) build/certs/log ## build every test program of TC
fuzz: $(FUZZ) ## build the fuzz programs (TC=host-fuzz)
check-unit: $(UNIT) $(CONTRACT) ## build and run the unit and contract tests of TC (RUN= a runner such as qemu-arm)
	test/run $(if $(RUN),--runner "$(RUN)") $^
check-dialogue: $(DIALOGUE) build/certs/log ## build and run the dialogue tests of TC
	test/run $(if $(RUN),--runner "$(RUN)") $(DIALOGUE)
check-scenario: $(SCENARIO) ## build and run the scenarios of TC
	test/run $(if $(RUN),--runner "$(RUN)") $^

-include $(shell test -d $(B)/obj && find $(B)/obj -name '*.d')
endif

# ---- For people --------------------------------------------------------------------------------

setup: ## install the Debian packages that builds and tests need
	scripts/setup build test cross
demo: ## from nothing to a delivered mail: install, build, run, show
	scripts/setup build
	$(MAKE) all
	scripts/demo
test: ## every test that a commit must pass
	scripts/setup test
	test/all
size: ## what the built products consist of, by room and by library
	$(Q)scripts/size
figures: ## measure size, memory and start of the x86_64 product
	$(MAKE) -s TC=x86_64-linux-musl all
	test/bench/figures.py
bench: ## measure the drain beside other senders (BENCH_MAILS, BENCH_REPEAT, BENCH_DIR); table in build/bench.md
	scripts/setup build bench
	$(MAKE) -s bench-programs
	test/bench/bench.py
bench-programs: # the product, and what is measured with it
	$(MAKE) -s TC=x86_64-linux-musl all build/x86_64-linux-musl/test/bench/ceiling
	$(MAKE) -s TC=host build/host/test/bench/sink
reproducible: ## build the x86_64 product twice, in two places, and compare
	scripts/reproducible
tidy: ## lint and style
	scripts/tidy
format: ## reformat own code
	clang-format -i $$(git ls-files '*.c' '*.h')
clean: ## remove build/
	rm -rf build
help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24
	@echo; echo "  TC=$(TC); also: $(filter-out musl $(TC),$(basename $(notdir $(wildcard toolchain/*.mk))))"

FORCE:
.PHONY: all deps rooms tools tests fuzz check-unit check-dialogue check-scenario setup demo test size figures bench bench-programs reproducible tidy format clean help FORCE
