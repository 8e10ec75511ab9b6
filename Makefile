# SPDX-License-Identifier: MIT
# A thin face over the CMake presets: each target stands alone, also on a machine that has only git and make.
#
#   make          build (release, for any x86-64)         make asan, make tsan   the tests under sanitizers
#   make demo     see it learn, in minutes                make experiments   docs/experiments.md's tables anew
#                                                          make lint              format and clang-tidy (ALL=1: every file)
#   make test     build and run all tests                 make fuzz              libFuzzer, SECONDS=30 a target
#   make attacks  a training that attacks its sandbox     make cuda              the CUDA module, where nvcc is
#   make model    a public model to try: models/smollm2    make demo-real     ... and see that one learn
#   make chaos    kills and stops at random, SECONDS=30   make install           into PREFIX (/usr/local)
#   make coverage lines that the tests run, by room       make clean             forget the build
#
# Only targets that test need the tests' packages. Builds are silent unless something fails; on a terminal they show how
# far they are.

PREFIX ?= /usr/local
SECONDS ?= 30
JOBS ?= $(shell nproc)
# JUNIT=file.xml: where a test target also writes its results
JUNIT_FLAG = $(if $(JUNIT),--output-junit $(abspath $(JUNIT)))
QUIET = $(if $(MAKE_TERMOUT),,-- --quiet)
# NAME, what else cmake is told: configures and builds a preset
build_preset = cmake --preset $(1) --log-level=NOTICE $(2) >/dev/null && \
	cmake --build --preset $(1) -j $(JOBS) $(3) $(QUIET)

.NOTPARALLEL:
.PHONY: build program demo demo-real model experiments attacks test asan tsan lint fuzz chaos coverage cuda clean install deps deps-test deps-dev
build: program

deps:
	@scripts/install-deps.sh
deps-test:
	@scripts/install-deps.sh --test
deps-dev:
	@scripts/install-deps.sh --dev

# The program and its modules, without the tests.
program: deps
	@$(call build_preset,release,-DTROUPE_TESTS=OFF)
build-%: deps-test
	@$(call build_preset,$*)

demo: program
	@scripts/demo.sh

model: program
	@scripts/real_model.sh

demo-real: model
	@scripts/demo.sh --real

experiments: program
	@scripts/experiments.sh

attacks: program
	@python3 tests/integration/attacks.py build/release/troupe . 10

test: build-release
	@ctest --preset release $(JUNIT_FLAG)

# WITHOUT=REGEX: not those tests
asan tsan: %: build-%
	@ctest --preset $* $(JUNIT_FLAG) $(if $(WITHOUT),-E '$(WITHOUT)')

# LABEL=unit: those tests alone
coverage: build-coverage
	@find build/coverage -name '*.gcda' -delete
	@ctest --preset coverage $(if $(LABEL),-L $(LABEL)) || echo "coverage: some tests failed; what ran is counted"
	@scripts/coverage.py build/coverage

lint: deps-dev
	@cmake --preset release --log-level=NOTICE >/dev/null
	@scripts/lint.sh format
	@scripts/lint.sh tidy $(if $(ALL),all)

cuda: export PATH := $(PATH):/usr/local/cuda/bin
cuda: deps
	@$(call build_preset,cuda,-DTROUPE_TESTS=OFF,--target cuda)

fuzz: deps-dev build-fuzz
	@scripts/fuzz.sh build/fuzz $(SECONDS)

chaos: program
	@scripts/chaos.sh build/release/troupe $(SECONDS)

install: program
	@cmake --install build/release --prefix $(PREFIX) > build/release/install.log || { cat build/release/install.log; exit 1; }
	@echo "installed: $(PREFIX)/bin/troupe; recipes, a model and documentation in $(PREFIX)/share/troupe"

clean:
	rm -rf build
