# A thin front of Meson. `make` builds, `make test` tests; each target installs the packages it needs when run as root.
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc)
NINJA = ninja -C $(BUILD) -j$(JOBS)

all: build

build: deps-build $(BUILD)/build.ninja
	@$(NINJA) program

# Building everything includes the tests. A folder that was configured before their packages came has no unit tests yet.
everything: $(BUILD)/build.ninja
	@$(NINJA) -t query test/unit/unit >/dev/null 2>&1 || meson setup --reconfigure $(BUILD)
	@$(NINJA)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --prefix=$(PREFIX)

deps-%:
	@scripts/deps $*

demo: build
	@scripts/demo $(BUILD)/criu/criu

test: deps-test everything
	@scripts/test $(BUILD)

lint: deps-lint everything
	@scripts/lint $(BUILD)

bench: deps-bench build
	@test/bench/bench.py criu=$(CURDIR)/$(BUILD)/criu/criu $(BENCH)

install: build
	@meson configure $(BUILD) --prefix=$(PREFIX)
	@$(NINJA) program
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild --quiet

clean:
	@rm -rf $(BUILD)

.PHONY: all build everything demo test lint bench install clean
