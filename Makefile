# swarmlab: `make up` and `make test` do everything; `make` alone says what else there is.

# Nothing here is newer than make 3.81, which is Apple's: no .SHELLFLAGS, no grouped targets (&:).
SHELL := .ci/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# What a target needs is made in the order in which it stands there, whatever -j says: Go and the scripts use all processors themselves.
.NOTPARALLEL:

# A Go that prerequisites.sh had to fetch stands here.
export PATH := $(CURDIR)/.lab/go/bin:$(PATH)

NODE_ARCH := $(shell uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
VERSION   := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS    = -s -w

nodes_bin := .lab/bin/linux-$(NODE_ARCH)
apps_dir  := .lab/app/linux-$(NODE_ARCH)
agents    := labagent role-manager role-interlock role-frontend role-worker role-store
apps      := web-vote-app vote-worker results-app
tools     := .lab/tools

# Without cgo, and with trimmed paths: .ci/bash says so. For this host, whatever `go env -w` has kept.
build_host = GOOS=$$(go env GOHOSTOS) GOARCH=$$(go env GOHOSTARCH) go build -buildvcs=false -ldflags '$(LDFLAGS) -X main.version=$(VERSION)'
# No version in what runs on nodes: a commit that does not change a binary must not provision every node anew.
build_node = GOOS=linux GOARCH=$(NODE_ARCH) go build -buildvcs=false -ldflags '$(LDFLAGS)'

.PHONY: help
help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##-- the lab

.PHONY: up
up: prerequisites build ## bring the lab up, or what is broken of it
	@bin/lab up

.PHONY: down
down: ## take the lab away, with everything in it; YES=1 does not ask about its votes
	@[ -x bin/lab ] || $(MAKE) bin/lab
	@bin/lab down

.PHONY: prerequisites
prerequisites: ## install what `make up` needs (Debian, Ubuntu), or say how
	@vagrant/prerequisites.sh

##-- building

.PHONY: build
build: bin/lab build-agents $(addprefix build-app-,$(apps)) ## the lab command, the node agent, the application

# Go knows best what is up to date; it takes a moment to say so.
.PHONY: bin/lab
bin/lab:
	@$(build_host) -o $@ ./lab/cmd/lab

# The agent and its plugins in one go: they share most of what is compiled.
.PHONY: build-agents
build-agents: | .lab
	@mkdir -p $(nodes_bin)
	@$(build_node) -o $(nodes_bin)/ $(addprefix ./agents/cmd/,$(agents))

.PHONY: $(addprefix build-app-,$(apps))
$(addprefix build-app-,$(apps)): build-app-%: | .lab
	@mkdir -p $(apps_dir)/$*
	@$(build_node) -o $(apps_dir)/$*/$* ./lab/votingapp/cmd/$*
	@cmp -s lab/votingapp/cmd/$*/Dockerfile $(apps_dir)/$*/Dockerfile || cp lab/votingapp/cmd/$*/Dockerfile $(apps_dir)/$*/Dockerfile

.lab:
	@mkdir -m 700 -p .lab

.PHONY: bundle
bundle: prerequisites bin/lab ## the stock images as files under .lab/bundle
	@bin/lab bundle

.PHONY: node-image
node-image:
	@vagrant/node/build.sh

.PHONY: box
box: ## a Vagrant box for virtual machines (libvirt), from Debian packages
	@PROVIDER=libvirt vagrant/prerequisites.sh
	@vagrant/box/build.sh

##-- checking

# What runs in it, in two lanes, is told in the script.
.PHONY: test
test: ## what to run before a change is sent: linters, units, six nodes, the tests on them
	@MAKE="$(MAKE)" .ci/test.sh

.PHONY: check
check: $(tools)/golangci-lint ## a minute: format, linters and unit tests without services, of what changed since BASE
	@.ci/check.sh

# ITEMS goes to the script: ITEMS=--list shows the items, ITEMS='--from 12 --minutes 10' runs some of them.
.PHONY: test-long
test-long: tools test-images ## an hour or more: every drill, long tests, a minute of fuzzing for each parser
	@MAKE="$(MAKE)" .ci/test-long.sh $(ITEMS)

.PHONY: test-prerequisites
test-prerequisites:
	@vagrant/prerequisites.sh test

.PHONY: tools
tools: $(tools)/golangci-lint $(tools)/gotestsum $(tools)/platforms

# Lint has vetted. The limit of time is for a test that hangs. With the race detector each process would sleep for a second when it ends.
.PHONY: unit
unit: test-images $(tools)/gotestsum ## unit tests, with the race detector; those that want a real Redis, Postgres, Consul or HAProxy get it from the bundle
	@mkdir -p .lab/test
	@CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 LAB_REQUIRE_SERVICES=1 $(tools)/gotestsum --format pkgname --format-hide-empty-pkg --hide-summary skipped --jsonfile .lab/test/unit.json -- \
		-race -vet=off -shuffle=on -timeout 60m ./...

# The host's engine runs them for the tests only.
.PHONY: test-images
test-images: bundle
	@.ci/test-images.sh $(NODE_ARCH)

.PHONY: integration
integration: $(tools)/gotestsum ## the tests on the running lab
	@mkdir -p .lab/test
	@$(tools)/gotestsum --format $(if $(CI),standard-verbose,testname) --hide-summary skipped --jsonfile .lab/test/integration.json -- \
		-tags integration -vet=off -count=1 -timeout 2h ./lab/test/integration

# PICTURES is the folder for them, seen from here: `make pictures PICTURES=.lab/pictures` leaves the README's alone.
PICTURES ?= tui/pictures
.PHONY: pictures
pictures: test-prerequisites ## the terminal UI on the running lab, as the README shows it
	go test -tags integration,pictures -count=1 -v -run '^TestPictures$$' ./lab/test/integration -pictures "$(PICTURES)"

.PHONY: vm-test
vm-test: ## the lab on six virtual machines (libvirt), emulated where there is no KVM
	@.ci/vm-test.sh

.PHONY: host-test
host-test: ## the lab of containers on Debian 13 with systemd and cgroup v2, in a virtual machine, emulated where there is no KVM
	@MAKE="$(MAKE)" .ci/host-test.sh

.PHONY: lint
lint: $(tools)/golangci-lint $(tools)/platforms generated ## linters, for Go, shell and Ruby; generated code is up to date
	@.ci/lint.sh

.PHONY: generated
generated:
	@.ci/generated.sh

.PHONY: generate
generate: ## the agent's and roles' gRPC code
	@cd agents/api && go tool -modfile=../../.ci/tools/generate/go.mod buf lint && go tool -modfile=../../.ci/tools/generate/go.mod buf generate
	@.ci/generated.sh write

.PHONY: fmt
fmt: $(tools)/golangci-lint ## format Go code
	$(tools)/golangci-lint fmt

# Linked once for each version, not at each run.
$(tools)/golangci-lint: .ci/tools/lint/go.mod .ci/tools/lint/go.sum
	@echo "building golangci-lint (a few minutes, once)"
	@mkdir -p $(tools)
	@go build -modfile=.ci/tools/lint/go.mod -ldflags '-s -w' -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(tools)/platforms: .ci/tools/platforms/main.go .ci/tools/lint/go.mod .ci/tools/lint/go.sum
	@mkdir -p $(tools)
	@go build -modfile=.ci/tools/lint/go.mod -ldflags '-s -w' -o $@ ./.ci/tools/platforms

$(tools)/gotestsum: .ci/tools/test/go.mod .ci/tools/test/go.sum
	@mkdir -p $(tools)
	@go build -modfile=.ci/tools/test/go.mod -ldflags '-s -w' -o $@ gotest.tools/gotestsum

# BENCH goes to the benchmarks, as BENCH='-run Capture -runs 1 -span 2s', or BENCH='-run Many -many 10000000'. The shortest forms, which only
# show that they work: BENCH='-runs 1 -span 1s' make bench, BENCH='-span 1s' make bench-tui.
.PHONY: bench
bench: test-images ## how fast votes are captured and counted, against limits measured in the same run
	LAB_REQUIRE_SERVICES=1 go test -tags bench -count=1 -timeout 6h -v ./lab/test/bench -out "$$PWD/.lab/bench.json" $(BENCH)

.PHONY: bench-tui
bench-tui: ## how quick the terminal UI is on a lab of a hundred simulated nodes
	go test -tags bench -count=1 -timeout 6h -v -run Responsive ./tui $(BENCH)

.PHONY: bench-up
bench-up: prerequisites build ## how long up, a second up, reset and down take; BENCH=--yes takes a running lab down first
	@.ci/bench-up.sh $(BENCH)

.PHONY: clean
clean: down ## take the lab away and everything that was built
	@if [ -e .lab/settings.json ]; then echo 'the lab is not down, so nothing was removed' >&2; exit 1; fi; rm -rf bin .lab .vagrant
