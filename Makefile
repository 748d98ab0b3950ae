# mien. The two that matter:
#
#   make run     fetch what is needed, build, serve on LISTEN with data in DATA; beyond this machine
#                with MIEN_TLS_CERT and MIEN_TLS_KEY, or MIEN_INSECURE_LISTEN=true
#   make test    fetch what is needed, check, test; ends with go test's own lines
#
# Needs Go 1.26, a C compiler and make; npm only for what is not in the cache yet (MIEN_CACHE, else the user's cache
# folder); Chromium and Node.js 18 or later for the tests of the capture page, which are skipped without. The others: build, demo (a bank that
# signs people in by their face), setup, check (all that CI and a reviewer ask, races of all packages and fuzzing among it), faces and evaluate (accuracy on a folder of photos, and all error rates with charts), fusion-faces (several templates a person), quality and liveness (what those tell, on the same
# folder), crash (kill -9 under load, hundreds of times), test-arm64, fuzz, image-check (the steps of
# the container image, without a container engine), soak (load for minutes), bench (speed of the parts, with charts), bench-peers (other indexes beside ours), clean.

DATA    ?= build/data
LISTEN  ?= 127.0.0.1:8080
FUZZTIME ?= 10s
GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# make's own default for CC is cc; Go's is gcc. Take what there is.
ifeq ($(origin CC),default)
CC := $(shell for c in gcc cc clang; do command -v $$c >/dev/null 2>&1 && echo $$c && break; done)
endif
export CC
export CGO_ENABLED = 1

# What drives a browser in tests is of use only where there is one.
BROWSER = $(if $(and $(shell command -v chromium),$(shell command -v node)),--browser)

# Everything that runs goes through these, so that a missing tool is one line and not a page of Go's.
define need
no_go() { echo "make: Go 1.26 or later is needed, $$1: get it from https://go.dev/dl" >&2; exit 1; }; \
command -v $(GO) >/dev/null 2>&1 || no_go "there is none on PATH"; \
v=$$($(GO) env GOVERSION 2>&1) || no_go "this one says '$$(echo "$$v" | head -n 1)'"; \
major=$${v#go}; major=$${major%%.*}; minor=$${v#*.}; minor=$${minor%%[!0-9]*}; \
[ "$$major" -gt 1 ] 2>/dev/null || [ "$$minor" -ge 26 ] 2>/dev/null || no_go "this is $$v"; \
command -v "$(firstword $(CC))" >/dev/null 2>&1 || { \
echo "make: a C compiler is needed, $(if $(CC),$(firstword $(CC)) is not,none of gcc, cc and clang is) on PATH:" \
"install one (Debian: apt-get install gcc libc6-dev) or set CC" >&2; exit 1; }
endef

.PHONY: run demo build setup test check crash faces dedupe-faces fusion-faces evaluate quality liveness lint race modernise test-arm64 fuzz soak bench bench-extract bench-peers image-check clean prerequisites go-test
.DEFAULT_GOAL := build

prerequisites:
	@$(need)

setup: prerequisites
	@mkdir -p build 2>/dev/null || { echo "make: cannot write the folder build" >&2; exit 1; }
	@$(GO) build -buildvcs=false -o build/setup ./cmd/setup
	@build/setup --build build $(SETUP_FLAGS)

build: prerequisites
	$(GO) build -buildvcs=false -trimpath -ldflags '-X main.version=$(VERSION)' -o build/mien ./cmd/mien

run: setup build
	@exec build/mien serve --data '$(DATA)' --listen '$(LISTEN)'

# A bank whose customers sign in by their face, with a mien of its own: open what it prints in a browser of this machine.
DEMO_LISTEN ?= 127.0.0.1:8090
DEMO_MIEN   ?= 127.0.0.1:8091
demo: setup build
	@$(GO) build -buildvcs=false -o build/demo ./cmd/demo
	@exec build/demo --mien build/mien --data build/demo-data --listen '$(DEMO_LISTEN)' --mien-listen '$(DEMO_MIEN)'

# In a recipe, not as prerequisites, so that `make -j` keeps the order: go test's lines come last.
test: SETUP_FLAGS = --sources $(BROWSER)
test: setup
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory race
	@$(MAKE) --no-print-directory test-arm64
	@$(MAKE) --no-print-directory faces
	@$(if $(BROWSER),,echo "browser: skipped: the capture page is tried in Chromium (Debian: apt-get install chromium npm)")
	@$(MAKE) --no-print-directory go-test

go-test:
	$(GO) test -shuffle=on ./...

check: SETUP_FLAGS = --sources $(BROWSER)
check: setup
	@$(MAKE) --no-print-directory lint modernise
	@$(MAKE) --no-print-directory race RACE_OMIT= RACE_SKIP=
	@$(MAKE) --no-print-directory test-arm64
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory go-test

lint:
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is needed for:" $$unformatted >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@if [ -f asm/go.mod ]; then cd asm && $(GO) vet ./...; fi  # a module of its own

modernise:
	$(GO) fix -diff ./...

# Not what runs on one goroutine and compares millions, damages byte after byte or stops at each write, nor what starts the built program: minutes with
# the race detector, which has nothing to find there. make check leaves nothing out.
RACE_OMIT ?= /simd$$|/bench$$|/bench/(chart|evaluate|peers|report)$$|/browsertest$$|/extract/pack$$|/cmd/
RACE_SKIP ?= ^(TestLive|TestMisses|TestLarge|TestSearchEach|TestSamePhoto|TestAuto|TestRemovedAreNeverFound|TestThousandsOfCopies|TestAlmostAllRemoved|TestRemoveAllThenAdd|TestSavedIndexDamaged|TestVerifyKeepsItsRate|TestLargePhotos|TestDamage|TestDamagedIndex|TestSavedAtRest|TestGroupCost|TestLargeWarp|TestMeasuresFall|TestAnswerBudget|TestFlippedBytes|TestRestartsAndCrashes|TestOnceCrash|TestCrashAfterSave|TestAdoptionCrash|TestImportCrash|TestRootRotationCrash|TestDedupeCrash|TestOldCacheFile|TestLabelsAreUsedAgain)$$
race:
	$(GO) test -race -vet=off -short -shuffle=on -timeout 25m -skip '$(RACE_SKIP)' $$($(GO) list ./... | grep -Ev '$(or $(RACE_OMIT),^$$)')

# The README's experiment on a folder of person/photo files; one line says so where there is none.
FACES ?= ../shared/faces/lfw
faces: setup
	@if [ -d '$(FACES)' ]; then \
	$(GO) test ./cmd/mien -run '^TestRealFaces$$' -count=1 -v -timeout 60m -args -faces "$$(realpath '$(FACES)')"; \
	else echo "faces: skipped: there are no photos at $(FACES) (make faces FACES=DIR)"; fi

# kill -9 on the running program under load, ROUNDS times; every acknowledged write must be there after each. Some three seconds a
# round on two cores. Prints how many writes were acknowledged and how long restarts took. A dozen rounds are part of make test.
ROUNDS ?= 300
crash: setup
	$(GO) test ./cmd/mien -run '^TestKill9$$' -count=1 -v -timeout 6h -args -rounds $(ROUNDS)

# What de-duplication and the hygiene report find of duplicates and photos under wrong ids planted among real people. DEDUPE_PEOPLE
# is how many are taken.
DEDUPE_PEOPLE ?= 400
dedupe-faces: setup
	@if [ -d '$(FACES)' ]; then \
	$(GO) test ./cmd/mien -run '^TestDedupeRealFaces$$' -count=1 -v -timeout 60m -args -dedupe-faces "$$(realpath '$(FACES)')" -dedupe-people $(DEDUPE_PEOPLE); \
	else echo "dedupe-faces: skipped: there are no photos at $(FACES) (make dedupe-faces FACES=DIR)"; fi

# What several templates a person are worth, and which way to compare with them, on the same folder: some minutes.
fusion-faces: setup
	@if [ -d '$(FACES)' ]; then \
	$(GO) test ./cmd/mien -run '^TestFusionRealFaces$$' -count=1 -v -timeout 60m -args -fusion-faces "$$(realpath '$(FACES)')"; \
	else echo "fusion-faces: skipped: there are no photos at $(FACES) (make fusion-faces FACES=DIR)"; fi

# Error rates on the same photos, with charts, in build/evaluate. EVALUATE passes flags on, such as EVALUATE='--face central'.
evaluate: setup build
	@if [ -d '$(FACES)' ]; then build/mien evaluate '$(FACES)' --out build/evaluate $(EVALUATE); \
	else echo "evaluate: there are no photos at $(FACES): make evaluate FACES=DIR, with DIR/person/photo.jpg" >&2; exit 1; fi

# Whether measures of quality fall as photos get worse, and whether the unified score tells which will not be matched, and what
# the gates that README.md recommends refuse, on the same folder: some ten minutes for 5,000 photos on two cores.
quality: setup
	@if [ -d '$(FACES)' ]; then \
	$(GO) test ./extract -run '^(TestMeasuresFall|TestPoseOrdersPhotos|TestUnifiedScorePredicts|TestGatesRefuse)$$' -count=1 -v -timeout 120m -args -faces "$$(realpath '$(FACES)')"; \
	else echo "quality: skipped: there are no photos at $(FACES) (make quality FACES=DIR)"; fi

# Liveness on the photos of FACES and on attacks simulated from them, and what thresholds of presentations are worth. Folders
# with commas between are told apart. ATTACKS passes flags on, such as ATTACKS='-attacked 500 -seed 2'.
comma := ,
liveness: setup
	@for d in $(subst $(comma), ,$(FACES)); do \
	[ -d "$$d" ] || { echo "liveness: skipped: there are no photos at $$d (make liveness FACES=DIR,...)"; exit 0; }; \
	all="$$all$${all:+,}$$(realpath "$$d")"; done; \
	$(GO) test ./extract -run '^(TestLivenessRates|TestSequenceRates|TestPresentationRates)$$' -count=1 -v -timeout 6h -args -faces "$$all" $(ATTACKS)

# Cross-built with cgo and run under emulation: what has code of its own for arm64 or a format on disk, and the pixels.
# ONNX Runtime's own arm64 library ends in a fault while qemu-user 7.2 loads it, so no model runs there.
ARM64_CC   ?= aarch64-linux-gnu-gcc
ARM64_RUN  ?= qemu-aarch64 -L /usr/aarch64-linux-gnu
ARM64_TEST := $(addsuffix /...,$(wildcard ./simd ./index ./engine/backup ./engine/transfer ./extract/pack))
# Not what makes millions of comparisons, with kernels that ./simd has tried at every length: minutes under emulation.
ARM64_SKIP := ^(TestAuto|TestSamePhoto|TestSearchDoesNotAllocate|TestLarge|TestSearchEach|TestLive|TestThousandsOfCopies|TestRemovedAreNeverFound|TestMisses|TestRecall|TestFlippedBytes|TestRestartsAndCrashes)$$
# Of package engine, which has no code of its own for a processor, what reads and writes formats, and random operations.
ARM64_ENGINE := Format|Script|Model|Record|Row|Sealed|KeyFile|AuditFile|AuditStore|AuditCrash|Restart|TestExportImport
test-arm64: prerequisites
	@for tool in $(firstword $(ARM64_CC)) $(firstword $(ARM64_RUN)); do command -v $$tool >/dev/null 2>&1 || \
	{ echo "test-arm64: skipped: no $$tool (Debian: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"; exit 0; }; done; \
	set -ex; export GOOS=linux GOARCH=arm64 CC='$(ARM64_CC)'; \
	$(GO) build ./...; \
	$(GO) test -vet=off -short -shuffle=on -skip '$(ARM64_SKIP)' -timeout 25m -exec '$(ARM64_RUN)' $(ARM64_TEST); \
	$(GO) test -vet=off -short -run '$(ARM64_ENGINE)' -skip '$(ARM64_SKIP)' -timeout 25m -exec '$(ARM64_RUN)' ./engine; \
	$(GO) test -vet=off -short -run 'Decode|Warp|Blur|Resize' -exec '$(ARM64_RUN)' ./extract

# Enrolments, verifications, searches and erasures from several clients for MINUTES: every answer right, nothing grows.
MINUTES ?= 5
soak: prerequisites
	$(GO) test ./http -run '^TestMixedLoad$$' -count=1 -v -timeout 24h -mixed '$(MINUTES)m'

# Every fuzz target for FUZZTIME.
fuzz: prerequisites
	@set -e; for p in $$($(GO) list ./...); do \
	for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	echo "fuzz $$p $$f $(FUZZTIME)"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p; done; done

# go test's benchmarks as a table and charts in build/bench, a few minutes. Not BenchmarkInTurns, which takes as long again
# for ratios. BENCH names others.
BENCH ?= .
bench: prerequisites
	@$(GO) test -run '^$$' -bench '$(BENCH)' -skip InTurns -benchtime 200ms -count 3 -timeout 20m ./simd ./index/... ./bench ./engine ./engine/mpc ./http | $(GO) run ./bench/report

# Photos through the whole pipeline beside its models alone, how long requests take, and the same models from
# onnxruntime-node, which is fetched to build/node (290 MB) if npm is there. EACH is the time for each figure, in whole seconds.
EACH ?= 4s
NODE_RUNTIME = onnxruntime-node@1.30.0
bench-extract: setup
	@$(GO) test ./extract -run '^$$' -bench Pipeline -benchtime 1x -timeout 60m -args -each $(EACH) -tensors '$(CURDIR)/build/bench-extract'
	@if command -v npm >/dev/null 2>&1; then \
	test -d build/node/node_modules/onnxruntime-node || npm install --prefix build/node --no-save --ignore-scripts --no-audit --no-fund $(NODE_RUNTIME) >/dev/null || exit 1; \
	node bench/node/models.mjs build/models/default build/bench-extract "$$PWD/build/node/node_modules/onnxruntime-node" $(EACH:s=); \
	else echo "bench-extract: no npm: onnxruntime-node is not compared"; fi

# Our index beside others over one gallery, with what each finds: minutes. The only target that installs packages, and
# only where a header is missing; reports in build/bench. PEERS passes flags on, such as PEERS='-rows 200000'.
bench-peers: prerequisites
	@test -f /usr/include/faiss/IndexFlat.h -a -f /usr/include/hnswlib/hnswlib.h || { \
	apt-get update -qq && apt-get install -y --no-install-recommends libhnswlib-dev libfaiss-dev libopenblas-dev; } || { \
	echo "bench-peers: Debian's libhnswlib-dev, libfaiss-dev and libopenblas-dev are needed" >&2; exit 1; }
	$(GO) vet -tags peers ./bench/peers
	OMP_WAIT_POLICY=passive $(GO) run -tags peers ./bench/peers -commit '$(VERSION)' $(PEERS)

# The steps that build the container image, in a copy of what git has, and the program in what the image has in it: minutes. The last
# steps alone, on what make has built, are part of make test.
image-check: prerequisites
	$(GO) test ./cmd/deploy -run '^TestImage$$' -count=1 -v -timeout 60m -args -build

# Keeps the data of a server that ran here, and the downloads in the cache.
clean:
	rm -rf build/mien build/setup build/demo build/lib build/models build/playwright-core build/screenshots
