# The front door. CMake does the building; `make help` lists what there is.

APP ?= apps/hello
PREFIX ?= /usr/local

.DEFAULT_GOAL := build
.PHONY: help build run test deps check bench asan tsan compat validate release install clean

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

build: ## The release build: build/perigee
	@scripts/deps build
	@scripts/build release

run: build ## Serves an app and reloads it on save: make run APP=apps/hello
	build/perigee dev $(APP)

test: ## Every test, with everything it needs
	@scripts/deps build test
	@scripts/test

deps: ## Installs the system packages for building, testing, checking
	@scripts/deps build test check

check: ## Formatters and linters
	@scripts/deps build test check
	@scripts/check

bench: release ## Speed and size, beside the peers
	@scripts/deps bench
	tests/bench/run --perigee build-release/perigee
	tests/bench/reload --perigee build-release/perigee

asan: ## The tests with AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/deps build test
	@scripts/test asan

tsan: ## The tests with ThreadSanitizer
	@scripts/deps build test
	@scripts/test tsan

compat: build ## FastAPI's recorded tutorial against tests/compat
	@scripts/deps test
	@scripts/compat

validate: build ## The documents before the ecosystem's validators
	@scripts/deps test
	@scripts/validate

release: ## The binary to install: build-release/perigee, built by what it was seen to do under load
	@scripts/deps build bench
	@scripts/release

install: release ## Honours PREFIX and DESTDIR
	cmake --install build-release --prefix $(PREFIX) --strip

clean: ## Removes every build folder
	rm -rf build build-release build-asan build-tsan build-fuzz
