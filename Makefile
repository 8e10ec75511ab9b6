# A thin face over the CMake presets: each target stands alone, also on a machine that has only git and make.
#
#   make          build (release, for any x86-64)         make asan, make tsan   the tests under sanitizers
#   make demo     see it learn, in minutes                make experiments   docs/experiments.md's tables anew
#                                                          make lint              format and clang-tidy (ALL=1: every file)
#   make test     build and run all tests                 make fuzz              libFuzzer, SECONDS=30 a target
#   make attacks  a training that attacks its sandbox     make cuda              the CUDA module, where nvcc is
#   make chaos    kills and stops at random, SECONDS=30   make install           into PREFIX (/usr/local)
#   make clean    forget the build

PREFIX ?= /usr/local
SECONDS ?= 30
JOBS ?= $(shell nproc)
# JUNIT=file.xml: where a test target also writes its results
JUNIT_FLAG = $(if $(JUNIT),--output-junit $(abspath $(JUNIT)))

.NOTPARALLEL:
.PHONY: build demo experiments attacks test asan tsan lint fuzz chaos cuda clean install deps deps-dev
build: build-release

deps:
	@scripts/install-deps.sh
deps-dev:
	@scripts/install-deps.sh --dev

build-%: deps
	@cmake --preset $* --log-level=NOTICE
	@cmake --build --preset $* -j $(JOBS) $(BUILD_ONLY)

demo: BUILD_ONLY = --target troupe
demo: build
	@scripts/demo.sh

experiments: BUILD_ONLY = --target troupe
experiments: build
	@scripts/experiments.sh

attacks: BUILD_ONLY = --target troupe
attacks: build
	@python3 tests/integration/attacks.py build/release/troupe . 10

test: build
	@ctest --preset release $(JUNIT_FLAG)

asan tsan: %: build-%
	@ctest --preset $* $(JUNIT_FLAG)

lint: deps-dev
	@cmake --preset release --log-level=NOTICE
	@scripts/lint.sh format
	@scripts/lint.sh tidy $(if $(ALL),all)

cuda: export PATH := $(PATH):/usr/local/cuda/bin
cuda: BUILD_ONLY = --target cuda
cuda: build-cuda

fuzz: deps-dev build-fuzz
	@scripts/fuzz.sh build/fuzz $(SECONDS)

chaos: BUILD_ONLY = --target troupe
chaos: build
	@scripts/chaos.sh build/release/troupe $(SECONDS)

install: build
	@cmake --install build/release --prefix $(PREFIX)

clean:
	rm -rf build
