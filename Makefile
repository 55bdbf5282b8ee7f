# Muster. `make help` lists the targets. A new source file touches nothing here: sources are found by
# wildcard, and the file of a folder that defines main() makes the folder's program.

VERSION := 0.1.0
SOVERSION := 0

ifeq ($(origin CC),default)
CC := gcc
endif
VARIANT ?= release
BUILD ?= build/$(VARIANT)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 30
SOAK_HOURS ?= 1
SOAK_IMAGES ?= 5000000
SOAK_FLIPS ?= 4200000
JOBS ?= $(shell nproc)

# ---- Layers: a folder, and the folders whose headers it may include. The compiler enforces it.

SEES.base                := base
SEES.protocol            := base protocol
SEES.protocol/transport  := base protocol protocol/transport
SEES.catalogue           := base protocol catalogue
SEES.nameserver/core     := base protocol catalogue nameserver/core
SEES.nameserver/daemon   := base protocol protocol/transport catalogue nameserver/core nameserver/daemon
SEES.storage/store       := base protocol storage/store
SEES.storage/core        := base protocol catalogue storage/core
SEES.storage/daemon      := base protocol protocol/transport catalogue storage/store storage/core \
			    storage/daemon
SEES.client/core         := base protocol client/core
SEES.client/lib          := base protocol client/core client/lib
SEES.client/shell        := base client/lib client/shell

# From the top down, which is also the order in which the libraries are linked.
LAYERS := client/shell client/lib client/core storage/daemon storage/core storage/store \
	  nameserver/daemon nameserver/core catalogue protocol/transport protocol base

SEES.tests/unit          := $(LAYERS) tests/unit tests/simulation
SEES.tests/simulation    := $(LAYERS) tests/simulation
SEES.tests/conformance   := $(filter-out client/shell,$(LAYERS)) tests/conformance
SEES.tests/bench         := $(LAYERS) tests/simulation tests/bench
SEES.tests/fuzz          := $(LAYERS) tests/unit tests/simulation tests/fuzz
SEES.tests/tools         := base protocol catalogue client/shell

# Programs: the folder of main(), and the layers they are linked with.
PROGRAMS := muster-nameserver muster-storage muster muster-conformance simulation
FOLDER.muster-nameserver  := nameserver/daemon
FOLDER.muster-storage     := storage/daemon
FOLDER.muster             := client/shell
FOLDER.muster-conformance := tests/conformance
FOLDER.simulation         := tests/simulation
INSTALLED := muster-nameserver muster-storage muster muster-conformance

PACKAGES := libuv lmdb libisal libcrypto libcjson libedit libbsd

# ---- Flags

WARNINGS := -std=c11 -fno-strict-aliasing -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror

FLAGS.release := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
		 -fstack-clash-protection
FLAGS.asan    := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS.tsan    := -O1 -fno-omit-frame-pointer -fsanitize=thread
FLAGS.fuzz    := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
		 -fno-sanitize-recover=all
ifeq ($(FLAGS.$(VARIANT)),)
$(error VARIANT is one of release, asan, tsan, fuzz)
endif

# Asked for once, and only when something is compiled: `make deps` may just have installed them.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PACKAGES)))$(PKG_LIBS)

# One set of objects serves programs and the shared library; hidden symbols keep muster.h its only face.
ALL_CFLAGS = $(WARNINGS) -g -fPIC -fvisibility=hidden -pthread $(FLAGS.$(VARIANT)) -D_GNU_SOURCE \
	     -DMUSTER_VERSION='"$(VERSION)"' $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $(FLAGS.$(VARIANT)) -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDFLAGS)

ifeq ($(V),1)
say = @:
Q :=
else
say = @printf '  %-4s %s\n' $(1) $(2)
Q := @
endif

# ---- What there is

object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
library = $(BUILD)/lib/lib$(subst /,-,$(1)).a
sources = $(wildcard $(1)/*.c)
group = -Wl,--start-group $(1) -Wl,--end-group

MAINS := $(shell grep -lw '^int main' /dev/null \
	   $(foreach p,$(PROGRAMS),$(wildcard $(FOLDER.$(p))/*.c)))
UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
BENCH_SOURCES := $(wildcard tests/bench/*.c)
FUZZ_SOURCES := $(wildcard tests/fuzz/*.c)
EXAMPLE_SOURCES := $(wildcard examples/*.c)

# Tests share the fakes of these folders.
TEST_FAKES := tests/unit tests/simulation

# Folders that become a static library.
parts = $(filter-out $(MAINS) $(UNIT_SOURCES),$(call sources,$(1)))
with_parts = $(foreach d,$(1),$(if $(call parts,$(d)),$(d)))
PRESENT := $(call with_parts,$(LAYERS))
TEST_PRESENT := $(call with_parts,$(TEST_FAKES) tests/conformance)
LIBRARIES := $(foreach d,$(PRESENT),$(call library,$(d)))
TEST_LIBRARIES := $(foreach d,$(filter $(TEST_FAKES),$(TEST_PRESENT)),$(call library,$(d))) \
		  $(LIBRARIES)

main_of = $(filter $(FOLDER.$(1))/%,$(MAINS))
BINARIES := $(foreach p,$(PROGRAMS),$(if $(call main_of,$(p)),$(BUILD)/$(p)))
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(BUILD)/unit/%)
BENCHES := $(BENCH_SOURCES:tests/bench/%.c=$(BUILD)/bench/%)
FUZZERS := $(FUZZ_SOURCES:tests/fuzz/%.c=$(BUILD)/fuzz/%)
TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c))
EXAMPLES := $(EXAMPLE_SOURCES:examples/%.c=$(BUILD)/examples/%)

LIB_LAYERS := $(filter client/core protocol base,$(PRESENT))
LIB_FILES := $(if $(filter client/lib,$(PRESENT)),\
	       $(addprefix $(BUILD)/,libmuster.a libmuster.so.$(SOVERSION) libmuster.so muster.pc))

OBJECTS := $(call object,$(foreach d,$(LAYERS) tests/unit tests/simulation tests/conformance \
	     tests/bench tests/fuzz tests/tools,$(call sources,$(d))))

# ---- Targets

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all deps demo test unit bench asan tsan simulation conformance sabotage soak fuzz lint format examples \
	install uninstall deb clean help FORCE

all: $(LIBRARIES) $(LIB_FILES) $(BINARIES) $(EXAMPLES) $(TOOLS) ## everything that is installed, and the simulation

deps: ## install the Debian packages that are missing
	@tests/deps.sh

parallel = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS)) --no-print-directory
ASAN_BUILD = $(if $(filter build/%,$(BUILD)),build/asan,$(BUILD)-asan)
TSAN_BUILD = $(if $(filter build/%,$(BUILD)),build/tsan,$(BUILD)-tsan)
FUZZ_BUILD = $(if $(filter build/%,$(BUILD)),build/fuzz,$(BUILD)-fuzz)

demo: deps ## build, then show a whole cluster on this machine
	@$(MAKE) $(parallel) all
	@BUILD_DIR=$(abspath $(BUILD)) tests/demo.sh

test: deps ## build, then run every suite of tests/suites (SUITES="20-unit …" for some)
	@$(MAKE) $(parallel) all
	@$(MAKE) $(parallel) VARIANT=asan BUILD=$(ASAN_BUILD) unit simulation
	@BUILD_DIR=$(abspath $(BUILD)) ASAN_DIR=$(abspath $(ASAN_BUILD)) tests/run $(SUITES)

unit: $(UNIT_TESTS) ## build the unit tests

asan: ## unit tests with the address and undefined-behaviour sanitizers
	@$(MAKE) $(parallel) VARIANT=asan BUILD=$(ASAN_BUILD) all unit
	@ASAN_DIR=$(abspath $(ASAN_BUILD)) tests/run 20-unit

# The threads of a server that gives up are still there when it exits.
tsan: ## unit tests and the daemons' suites with the thread sanitizer
	@$(MAKE) $(parallel) VARIANT=tsan BUILD=$(TSAN_BUILD) all unit
	@TSAN_OPTIONS="halt_on_error=1 report_thread_leaks=0" UNIT_LIMIT_S=600 \
		BUILD_DIR=$(abspath $(TSAN_BUILD)) ASAN_DIR=$(abspath $(TSAN_BUILD)) \
		tests/run 20-unit 60-nameserver 61-storage 61-storage-copies 61-storage-faults \
			71-upkeep 73-takeover 74-catalogue-copies 76-degraded 77-presence 78-hold \
			79-rebuild

bench: all $(BENCHES) ## figures beside the bare machine's (BENCH="--rounds 3 large" for some)
	@BUILD_DIR=$(abspath $(BUILD)) tests/bench/run.py $(BENCH)

simulation: $(filter %/simulation,$(BINARIES)) ## build the deterministic simulation

conformance: $(filter %/muster-conformance,$(BINARIES)) ## build the conformance tester

sabotage: $(filter %/simulation,$(BINARIES)) ## does the simulation notice each safety rule that is taken away?
	@$(BUILD)/simulation --sabotage-all --jobs $(JOBS)

soak: deps ## new simulated clusters for SOAK_HOURS, SOAK_IMAGES power cuts, then the cluster suites
	@$(MAKE) $(parallel) all
	@$(MAKE) $(parallel) VARIANT=asan BUILD=$(ASAN_BUILD) all unit
	@$(BUILD)/simulation --soak $$(($(SOAK_HOURS) * 3600)) --jobs $(JOBS) \
		--keep tests/simulation/seeds.txt
	@SOAK=1 CRASH_IMAGES=$(SOAK_IMAGES) CRASH_FLIPS=$(SOAK_FLIPS) \
		BUILD_DIR=$(abspath $(BUILD)) ASAN_DIR=$(abspath $(ASAN_BUILD)) \
		tests/run 30-crash 61-storage-faults 70-library 70-cluster 75-namespaces

fuzz: ## build and run every fuzzer of tests/fuzz for FUZZ_SECONDS
	@$(MAKE) $(parallel) CC=clang VARIANT=fuzz BUILD=$(FUZZ_BUILD) fuzzers
	@tests/fuzz/seeds.py $(FUZZ_BUILD)/corpus
	@set -e; for name in $(FUZZ_SOURCES:tests/fuzz/%.c=%); do \
		mkdir -p $(FUZZ_BUILD)/corpus/$$name; \
		$(FUZZ_BUILD)/fuzz/$$name -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			$(FUZZ_BUILD)/corpus/$$name; done

.PHONY: fuzzers
fuzzers: $(FUZZERS)

lint: ## formatting, banned functions, sizes
	@tests/lint/run

format: ## let clang-format rewrite all sources
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format -i

# ---- Compiling

# Rewritten only when they changed, so that another compiler or flag rebuilds what is here.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(call quoted,$(CC) $(ALL_CFLAGS)) | cmp -s - $@ || \
		printf '%s\n' $(call quoted,$(CC) $(ALL_CFLAGS)) > $@
quoted = '$(subst ','\'',$(1))'

folder_of = $(patsubst %/,%,$(dir $(1)))

# -iquote and not -I: a header of ours shall never stand in for one of the system.
$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(addprefix -iquote ,$(SEES.$(call folder_of,$<))) -MMD -MP -c $< -o $@

# The folder is a prerequisite, so that a removed source leaves its library.
define library_rule
$(call library,$(1)): $(call object,$(call parts,$(1))) $(1)
	$$(call say,AR,$(1))
	@mkdir -p $$(@D) && rm -f $$@
	$$(Q)ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach d,$(PRESENT) $(TEST_PRESENT),$(eval $(call library_rule,$(d))))

# Cores know nothing of each other and may use the same names inside. Where all are linked together,
# each is one object that shows its interface only. Of the glue the daemons' is at hand, for
# store_chunks.c and identity.c.
ALL_CORES := simulation muster-conformance
SHOWS.nameserver/core := nameserver_* ns_outbox_* takeover_*
SHOWS.storage/core    := storage_*
SHOWS.client/core     := client_*
CORES := $(filter %/core,$(PRESENT))
closed = $(BUILD)/lib/$(subst /,-,$(1)).o
linked = $(if $(filter $(ALL_CORES),$(1)),$(if $(filter $(CORES),$(2)),$(call closed,$(2)),\
	$(if $(filter %/lib %/shell %/transport,$(2)),,$(call library,$(2)))),$(call library,$(2)))

define closed_rule
$(call closed,$(1)): $(call object,$(call parts,$(1))) $(1)
	$$(call say,LD,$$(@F))
	@mkdir -p $$(@D)
	$$(Q)ld -r $$(filter %.o,$$^) -o $$@.all
	$$(Q)objcopy -w $(foreach s,$(SHOWS.$(1)),'--keep-global-symbol=$(s)') $$@.all $$@ && rm $$@.all
endef
$(foreach d,$(CORES),$(eval $(call closed_rule,$(d))))

# A program gets its own folder's library and those of the layers that folder sees, and they see.
seen = $(sort $(1) $(foreach d,$(1),$(SEES.$(d)) $(foreach e,$(SEES.$(d)),$(SEES.$(e)))))
define program_rule
$(BUILD)/$(1): $(call object,$(call main_of,$(1))) \
		$(foreach d,$(filter $(call seen,$(FOLDER.$(1))),$(PRESENT) $(TEST_PRESENT)),$(call linked,$(1),$(d)))
	$$(call say,LD,$(1))
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -pie $$(filter %.o,$$^) $$(call group,$$(filter %.a,$$^)) \
		$$(PKG_LIBS) -o $$@
endef
$(foreach p,$(PROGRAMS),$(if $(call main_of,$(p)),$(eval $(call program_rule,$(p)))))

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(TEST_LIBRARIES)
	$(call say,LD,unit/$*)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -pie $< $(call group,$(TEST_LIBRARIES)) $(PKG_LIBS) -lcmocka -o $@

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(TEST_LIBRARIES)
	$(call say,LD,bench/$*)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -pie $< $(call group,$(TEST_LIBRARIES)) $(PKG_LIBS) -o $@

$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(TEST_LIBRARIES)
	$(call say,LD,fuzz/$*)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer $< $(call group,$(TEST_LIBRARIES)) $(PKG_LIBS) \
		-lcmocka -o $@

TOOL_LIBRARIES := $(foreach d,catalogue protocol base,$(call library,$(d)))

$(BUILD)/tools/%: $(BUILD)/obj/tests/tools/%.o $(TOOL_LIBRARIES)
	$(call say,LD,tools/$*)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -pie $< $(call group,$(TOOL_LIBRARIES)) $(PKG_LIBS) -o $@

docs/protocol-messages.md: $(BUILD)/tools/protocol_doc
	$(call say,GEN,$@)
	$(Q)$< > $@

# The pages' own words stand around what is made from tables.
GENERATED_PAGES := muster.1 muster-nameserver.8 muster-storage.8 muster-conformance.8
.PHONY: man
man: $(BUILD)/tools/man_commands $(BUILD)/tools/man_options ## renew the parts of the manual pages that are made from tables
	$(call say,GEN,$(GENERATED_PAGES))
	$(Q)set -e; for page in $(GENERATED_PAGES); do \
		tests/tools/man_page $(BUILD)/tools docs/man/$$page > $(BUILD)/tools/page; \
		cmp -s $(BUILD)/tools/page docs/man/$$page || cp $(BUILD)/tools/page docs/man/$$page; done

# ---- libmuster

LIB_OBJECTS := $(call object,$(call sources,client/lib))
LIB_INPUTS := $(LIB_OBJECTS) $(foreach d,$(LIB_LAYERS),$(call library,$(d)))

LIB_VERSIONS := client/lib/libmuster.map

$(BUILD)/libmuster.so.$(SOVERSION): $(LIB_INPUTS) $(LIB_VERSIONS)
	$(call say,LD,$(@F))
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,$(@F) -Wl,--version-script=$(LIB_VERSIONS) \
		$(LIB_OBJECTS) $(call group,$(filter %.a,$^)) $(PKG_LIBS) -o $@

$(BUILD)/libmuster.so: $(BUILD)/libmuster.so.$(SOVERSION)
	$(Q)ln -sf $(<F) $@

# One object whose hidden symbols became local: a user's own crc32c() does not clash with ours.
$(BUILD)/libmuster.a: $(LIB_INPUTS)
	$(call say,AR,$(@F))
	$(Q)ld -r $(LIB_OBJECTS) --start-group $(filter %.a,$^) --end-group -o $(BUILD)/obj/libmuster.o
	$(Q)objcopy --localize-hidden $(BUILD)/obj/libmuster.o
	$(Q)rm -f $@ && ar rcs $@ $(BUILD)/obj/libmuster.o

$(BUILD)/muster.pc: Makefile $(BUILD)/prefix
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' \
		'Name: muster' 'Description: client library of the Muster file store' \
		'Version: $(VERSION)' 'Requires.private: libcrypto libisal' \
		'Libs: -L$${libdir} -lmuster' 'Libs.private: -pthread' 'Cflags: -I$${includedir}' > $@

$(BUILD)/prefix: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(PREFIX)' | cmp -s - $@ || printf '%s\n' '$(PREFIX)' > $@

# As anybody would build them: all they know is muster.h and the library.
$(BUILD)/examples/%: examples/%.c client/lib/muster.h $(BUILD)/libmuster.so
	$(call say,LD,examples/$*)
	@mkdir -p $(@D)
	$(Q)$(CC) $(WARNINGS) $(FLAGS.$(VARIANT)) -I client/lib $< $(CFLAGS) -o $@ -L$(BUILD) -lmuster \
		-Wl,-rpath,'$$ORIGIN/..' $(LDFLAGS)

examples: $(EXAMPLES) ## build the example programs of examples/

# ---- Installing

into = $(DESTDIR)$(PREFIX)/$(1)
INSTALLED_BINARIES = $(filter $(addprefix $(BUILD)/,$(INSTALLED)),$(BINARIES))
MAN_PAGES := $(wildcard docs/man/*.[1-8])
SCRIPTS := $(wildcard tests/conformance/*.mst)
UNITS := $(wildcard packaging/systemd/*.in)
unit_target = $(call into,lib/systemd/system/$(notdir $(1:.in=)))
BASH_COMPLETION = $(call into,share/bash-completion/completions/muster)
ZSH_COMPLETION = $(call into,share/zsh/site-functions/_muster)
man_target = $(call into,share/man/man$(subst .,,$(suffix $(1)))/$(notdir $(1)))

install: all ## to DESTDIR and PREFIX (/usr/local)
	install -d $(call into,bin) $(call into,lib/pkgconfig) $(call into,include)
	$(if $(INSTALLED_BINARIES),install -m 755 $(INSTALLED_BINARIES) $(call into,bin))
ifneq ($(LIB_FILES),)
	install -m 644 $(BUILD)/libmuster.a $(BUILD)/libmuster.so.$(SOVERSION) $(call into,lib)
	ln -sf libmuster.so.$(SOVERSION) $(call into,lib/libmuster.so)
	install -m 644 client/lib/muster.h $(call into,include)
	install -m 644 $(BUILD)/muster.pc $(call into,lib/pkgconfig)
endif
	install -d $(call into,share/muster/conformance) $(call into,share/muster/examples)
	install -m 644 $(SCRIPTS) $(call into,share/muster/conformance)
	install -m 644 $(EXAMPLE_SOURCES) $(call into,share/muster/examples)
	$(foreach m,$(MAN_PAGES),install -D -m 644 $(m) $(call man_target,$(m));)
	install -d $(call into,lib/systemd/system) $(call into,lib/sysusers.d)
	$(foreach u,$(UNITS),sed 's|@PREFIX@|$(PREFIX)|' $(u) > $(call unit_target,$(u)) && \
		chmod 644 $(call unit_target,$(u));)
	install -m 644 packaging/sysusers.conf $(call into,lib/sysusers.d/muster.conf)
	install -D -m 644 packaging/completions/muster.bash $(BASH_COMPLETION)
	install -D -m 644 packaging/completions/_muster $(ZSH_COMPLETION)

uninstall: ## remove what install put there
	rm -f $(foreach p,$(INSTALLED),$(call into,bin/$(p))) $(call into,include/muster.h) \
		$(call into,lib/libmuster.a) $(call into,lib/libmuster.so) \
		$(call into,lib/libmuster.so.$(SOVERSION)) $(call into,lib/pkgconfig/muster.pc) \
		$(foreach m,$(MAN_PAGES),$(call man_target,$(m))) \
		$(foreach u,$(UNITS),$(call unit_target,$(u))) $(call into,lib/sysusers.d/muster.conf) \
		$(BASH_COMPLETION) $(ZSH_COMPLETION)
	rm -rf $(call into,share/muster/conformance) $(call into,share/muster/examples)

DEB = $(BUILD)/muster_$(VERSION)_$(shell dpkg --print-architecture).deb

deb: ## a Debian package, in BUILD
	@rm -rf $(BUILD)/stage
	@$(MAKE) $(parallel) PREFIX=/usr DESTDIR=$(abspath $(BUILD))/stage install > /dev/null
	@install -d $(BUILD)/stage/etc/default
	@install -m 644 packaging/default/* $(BUILD)/stage/etc/default
	@install -D -m 644 LICENSE $(BUILD)/stage/usr/share/doc/muster/copyright
	@strip --strip-unneeded $(addprefix $(BUILD)/stage/usr/bin/,$(INSTALLED)) \
		$(BUILD)/stage/usr/lib/libmuster.so.$(SOVERSION)
	$(call say,DEB,$(notdir $(DEB)))
	@packaging/deb/build $(BUILD)/stage $(VERSION) $(DEB)

clean: ## remove everything that was built
	rm -rf build

help: ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo
	@echo "  V=1 shows commands, VARIANT=release|asan|tsan|fuzz, CC=gcc|clang, BUILD=DIR,"
	@echo "  CFLAGS= and LDFLAGS= are added to ours."

-include $(OBJECTS:.o=.d)
