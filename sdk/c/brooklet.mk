# Included by a plugin's Makefile: makes build/NAME.wasm of NAME.c and NAME.json, its manifest, for each NAME in PLUGINS.
#
#   CLANG              a clang that knows wasm32: a system's, or a wasi-sdk's
#   WASI               its target, and where its libc lies; a wasi-sdk's clang needs only --target=wasm32-wasip1
#   WASM_COMPONENT_LD  the linker that makes components: Rust's toolchain has it, a wasi-sdk has it in bin/
BROOKLET_SDK := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
ifeq ($(origin CLANG),undefined)
  CLANG := $(firstword $(shell command -v clang clang-21 clang-20 clang-19 clang-18 clang-17 clang-16))
endif
WASI ?= --target=wasm32-wasi --sysroot=/usr
ifeq ($(origin WASM_COMPONENT_LD),undefined)
  RUST_HOST := $(shell rustc -vV | sed -n 's/^host: //p')
  WASM_COMPONENT_LD := $(shell rustc --print sysroot)/lib/rustlib/$(RUST_HOST)/bin/wasm-component-ld
endif
BUILD ?= build
CFLAGS ?= -O3 -msimd128
WARNINGS := -std=c17 -Wall -Wextra -Werror

SDK_SOURCES := $(wildcard $(BROOKLET_SDK)/src/*.c)
SDK_HEADERS := $(wildcard $(BROOKLET_SDK)/include/*.h $(BROOKLET_SDK)/generated/*.h)
# What wit-bindgen has made of the interfaces: they never change, and neither does it.
BINDINGS := $(BROOKLET_SDK)/generated/transform_plugin

all: $(PLUGINS:%=$(BUILD)/%.wasm)

$(BUILD)/bindings.o: $(BINDINGS).c $(SDK_HEADERS)
	@mkdir -p $(BUILD)
	$(CLANG) $(WASI) -std=c17 $(CFLAGS) -w -c $< -o $@

$(BUILD)/%.wasm: %.c %.json $(BUILD)/bindings.o $(SDK_SOURCES) $(SDK_HEADERS)
	$(CLANG) $(WASI) $(WARNINGS) $(CFLAGS) -mexec-model=reactor -fuse-ld=$(WASM_COMPONENT_LD) \
	  -I$(BROOKLET_SDK)/include -I$(BROOKLET_SDK)/generated \
	  $< $(SDK_SOURCES) $(BUILD)/bindings.o $(BINDINGS)_component_type.o -o $@

clean:
	rm -rf $(BUILD)

.PHONY: all clean
.SECONDARY:
