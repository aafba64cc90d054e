# Targets that have logic are Go programs in tools/. Developer tools are pinned in tools/go.mod and never
# enter the product's go.mod.

GO      ?= go
TAGS    ?= invariants
PKG     ?= ./...
T       ?= 1m
FUZZ    ?= Fuzz
FOR     ?=
ROUNDS  ?= 3
FROM    ?= HEAD
PYARROW_VERSION ?= 21.0.0
TOOL     = $(GO) tool -modfile=tools/go.mod
# One name for all lines of a recipe: it is made once.
ifndef UPGRADE
UPGRADE := $(shell mktemp -u -d)
endif
# The simulation ends itself when it grows; this is for what it does not see. In KiB, where the shell knows that limit.
BOUNDED  = ulimit -v 14000000 2>/dev/null;
UNIT     = ./client/... ./cmd/... ./examples/... ./internal/... ./proto/...

export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: upgrade pgo sqllogic oracle pyarrow pgparse help build fmt gen lint test unit processes race race-build race-quick e2e sim sim-speed mutant mutants linear linear-mutants tidy demo demo-build cluster bench compare gobench vuln fuzz check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The compiler inlines by what profiles of the benchmarks say; tests do without, so that they build sooner.
build: ## bin/kalamdb and bin/kalam
	$(GO) build -trimpath -pgo=cmd/kalamdb/server.pgo -o bin/ ./cmd/kalamdb ./cmd/kalam

pgo: ## run the benchmarks and keep their profile for build
	$(GO) build -trimpath -tags profile -o bin/kalamdb-profile ./cmd/kalamdb
	$(GO) run -C tools ./pgo ../bin/kalamdb-profile ../cmd/kalamdb/server.pgo

fmt: ## format all Go files
	$(TOOL) golangci-lint fmt

gen: ## rebuild the protobuf stubs
	$(GO) run -C tools ./gen ../proto

tidy: ## go.mod and go.sum name what is used, and nothing else
	$(GO) mod tidy
	git diff --exit-code -- go.mod go.sum

lint: ## golangci-lint, then the repository's own rules
	$(TOOL) golangci-lint run --allow-parallel-runners ./...
	$(GO) test -tags $(TAGS) ./internal/lint

test: unit processes ## unit tests and scripts, then real processes end to end

unit: ## unit tests and scripts, 200 seeds of the simulation among them
	N=$(or $(N),200) $(GO) test -tags $(TAGS) $(UNIT)
	$(GO) test -C tools ./...

# End to end and under faults side by side: both wait for most of their time.
processes: ## real processes end to end, and for a minute under faults
	$(GO) test -tags $(TAGS) -count=1 -p 2 ./test/...

race: ## the same under the race detector (needs a C compiler)
	$(RACE_RUN) $(UNIT)
	CGO_ENABLED=1 KALAMDB_E2E_RACE=1 $(GO) test -tags $(TAGS) -count=1 -timeout 30m ./test/...

# Before every change the race detector runs over every package that has tests. Of those in RACE_PART, which would take many minutes, only
# the tests in RACE_TESTS run: each with many goroutines. RACE_SKIP are tests of the others that compute alone for long (every bit flipped,
# every crash point, random logs, all functions, scripts, the rules of this repository), and the one that drives a browser. `make race` has all of them.
RACE_PART  = ./internal/multiraft ./internal/server ./internal/sim ./internal/sql/exec
RACE_TESTS = TestSecondLogWriteStartsBeforeTheFirstIsSynced TestHungSyncGivesAllGroupsOtherLeaders TestLullsUnderStress TestDrainMovesEveryLeadership \
             TestAllWaitsForEveryVoter TestAppendsShareFramesAndAreNotWaitedFor TestHandedOverWriteWaitsForRoom \
             TestLiveRowsAcrossNodes TestOneOfTwoRunnersGetsAJob TestThreeNodesServeSQL TestColdRowsSurviveARestart TestNodeLocalRows \
             TestHangingSyncMovesLeadership TestFullDiskStandsStillAndGoesOn TestLiveQueriesGoOnOverASnapshot TestDamagedSegmentIsMended \
             TestScripts TestColdRowsCountAsMemory TestManyEntriesAreNotGathered
RACE_SKIP  = TestCrashAnywhereLeavesOldOrNew TestCrashAtEveryChangeOfTheDisk TestLogEqualsModel TestLargePairsAreSpreadOverChunks TestRandomLogsCoverTheOutcomes TestRememberedRequestsAreBoundedWhenPacked \
             TestDiskErrorsOfTheStoreEndTheLog TestDiskErrorsEndTheStore TestInspectFindsFlippedBits TestFlippedBitAnywhere TestInspectAndOpenAgreeOnFlippedBits TestMarksAreBounded \
             TestNoFunctionHoldsUpItsStatement TestSplicedStatements TestRepository TestPage TestScripts
RACE       = $(filter-out $(RACE_PART),$(patsubst github.com/kalamdb/kalamdb-go/%,./%,$(shell $(GO) list -tags $(TAGS) \
             -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' $(UNIT))))
# With cgo, which the product does without, Pebble would take another decompressor, which is long to compile.
RACE_TAGS  = $(TAGS),pebblegozstd
RACE_RUN   = CGO_ENABLED=1 $(GO) test -race -tags $(RACE_TAGS)
none      :=
names      = '^($(subst $(none) ,|,$(strip $(1))))$$'

race-build: ## compile what race-quick runs
	$(RACE_RUN) -run '^$$' $(RACE) $(RACE_PART)
	CGO_ENABLED=1 $(GO) build -race -tags $(RACE_TAGS) -o bin/kalamdb-race ./cmd/kalamdb

race-quick: ## the race detector over all packages, of a few only a part, and over two tests with real processes
	$(RACE_RUN) -skip $(call names,$(RACE_SKIP)) $(RACE)
	$(RACE_RUN) -run $(call names,$(RACE_TESTS)) $(RACE_PART)
	CGO_ENABLED=1 KALAMDB_E2E_RACE=1 $(GO) test -tags $(TAGS) -count=1 \
		-run 'TestLiveClientsSeeTheLog$$|TestRollingRestartFailsNoRequest$$' ./test/e2e

e2e: ## only the real processes; one of them with RUN=TestName
	$(GO) test -tags $(TAGS) -count=1 -v $(if $(RUN),-run '$(RUN)') ./test/e2e

upgrade: ## three nodes of the program at FROM become this one's, one by one, under load
	git worktree add --detach $(UPGRADE) $(FROM)
	$(GO) build -C $(UPGRADE) -o $(UPGRADE)/kalamdb-from ./cmd/kalamdb && \
		KALAMDB_E2E_FROM=$(UPGRADE)/kalamdb-from $(GO) test -tags $(TAGS) -count=1 -v -run 'TestUpgrade$$' ./test/e2e; \
		ended=$$?; git worktree remove --force $(UPGRADE); exit $$ended

sqllogic: ## scripts in the sqllogictest format, with hot rows and with cold ones: those of test/sqllogic, or FILES
	SQLLOGIC_FILES="$(abspath $(FILES))" $(GO) test -tags $(TAGS) -count=1 -run 'TestSQLLogic' ./internal/sql/exec

oracle: ## made-up queries on this server and on DuckDB: N of them from SEED on (needs a C compiler)
	cd test/oracle && CGO_ENABLED=1 SEED=$(SEED) N=$(N) $(GO) test -count=1 -v .

pyarrow: ## a segment, read by pyarrow in an environment of its own (needs a C compiler, Python and the network)
	dir=$$(mktemp -d); trap 'rm -r $$dir' EXIT; python3 -m venv $$dir && $$dir/bin/pip install --quiet pyarrow==$(PYARROW_VERSION) && \
		cd test/oracle && CGO_ENABLED=1 PYARROW=$$dir/bin/python $(GO) test -count=1 -v -run TestPyArrow .

pgparse: ## what our printer writes, read by PostgreSQL's own parser (needs a C compiler, and minutes the first time)
	cd test/oracle/pgparse && CGO_ENABLED=1 $(GO) test -count=1 -v .

sim: ## a cluster on one goroutine: N seeds from SEED on
	$(BOUNDED) SEED=$(SEED) N=$(N) $(GO) test -tags $(TAGS) -count=1 -timeout 60m -v -run 'TestSeeds$$|TestDefaultCluster$$' ./internal/sim

sim-speed: ## how much faster than life 34 groups on three nodes are simulated: SECONDS of their time
	SECONDS=$(SECONDS) $(GO) test -tags $(TAGS) -count=1 -v -run 'TestDefaultCluster$$' ./internal/sim

mutants: ## plant each known bug in five stretches of seeds and show that the simulation sees it
	$(BOUNDED) MUTANTS=5 $(GO) test -tags $(TAGS) -count=1 -timeout 60m -v -run 'TestMutantsAreCaught$$' ./internal/sim

mutant: ## a build with the planted bug NAME of internal/sim/planted, by its build tag, or with one after another for all: the seeds must fail
	@dir=$$(mktemp -d); trap 'rm -r $$dir' EXIT; \
	for name in $(if $(filter all,$(NAME)),$(filter-out none planted,$(basename $(notdir $(wildcard internal/sim/planted/*.go)))),$(NAME)); do \
		test -f internal/sim/planted/$$name.go || { echo "no planted bug is named $$name"; exit 1; }; \
		$(GO) test -c -tags $(TAGS),mutant_$$name -o $$dir/sim.test ./internal/sim || exit 1; \
		(cd internal/sim && $$dir/sim.test -test.run 'TestSeeds$$') >$$dir/out && { echo "$$name was not seen"; exit 1; }; \
		grep -a '^ *seeds_test.go:.*: seed ' $$dir/out | grep -av ' simulated in ' | sed "s/^[^:]*:[0-9]*:/$$name:/" | grep -a . || { cat $$dir/out; exit 1; }; \
	done

linear: ## real processes under faults for as long as FOR, from SEED; the histories of their clients are judged
	FOR=$(FOR) SEED=$(SEED) $(GO) test -tags $(TAGS) -count=1 -v -timeout 24h -run 'TestHistoriesUnderFaults$$' ./test/linear

linear-mutants: ## plant bugs into the server and show that the histories of its clients betray them
	MUTANTS=all $(GO) test -tags $(TAGS) -count=1 -v -timeout 60m -run 'TestPlantedBugsAreFound$$' ./test/linear

demo: ## three nodes on this machine with sample data and a writer; FOR=5s runs that long and verifies
	$(GO) run ./cmd/kalamdb demo $(if $(FOR),--for $(FOR))

demo-build: ## compile what demo runs
	$(GO) build -o /dev/null ./cmd/kalamdb

cluster: build ## three server processes from deploy/local, logs side by side
	$(GO) build -C tools -o ../bin/cluster ./cluster
	bin/cluster bin/kalamdb deploy/local/node1.toml deploy/local/node2.toml deploy/local/node3.toml

bench: build ## the benchmarks whose figures have goals, in ROUNDS; keeps what they print in docs/benchmarks.md
	$(GO) run -C tools ./figures ../bin/kalamdb ../docs/benchmarks.md $(ROUNDS)

compare: build ## others and this system in turn, in ROUNDS: the tables of docs/benchmarks.md, "Beside others"; ENGINES=dragonboat,etcd,streams,hashicorp,idle
	$(GO) build -C test/compare -trimpath -o ../../bin/compare .
	bin/compare table $(if $(ENGINES),--engines $(ENGINES)) bin/kalamdb $(ROUNDS)

gobench: ## benchmarks of PKG
	$(GO) test -run '^$$' -bench . -benchmem $(PKG)

vuln: ## known vulnerabilities that the code reaches; VULNFLAGS=-strict fails for those of the standard library, too
	$(GO) run -C tools ./vuln $(VULNFLAGS) ./client/... ./cmd/... ./internal/...

fuzz: ## one fuzz target for a minute: PKG=./internal/sql/parse FUZZ=FuzzParse T=1m
	$(GO) test -tags $(TAGS) -run '^$$' -fuzz '$(FUZZ)' -fuzztime $(T) $(PKG)

check: ## what a change must pass: fmt and gen leave no diff; lint; test
	$(TOOL) golangci-lint fmt --diff
	dir=$$(mktemp -d) && $(GO) run -C tools ./gen ../proto $$dir && diff -r -x '*.proto' $$dir proto && rm -r $$dir
	$(MAKE) tidy
	$(MAKE) lint
	$(MAKE) test
