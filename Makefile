# `make demo` and `make test` set up everything that they need. `make help` lists the other commands.
.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE ?= evolution-openai-patch
TEST_PACKAGES = pgbouncer:/usr/sbin/pgbouncer nginx-light:/usr/sbin/nginx haproxy:/usr/sbin/haproxy curl:/usr/bin/curl

# What speaks to a database, and so is to be tested on every PostgreSQL.
DATABASE_TESTS = ./test ./test/attack ./test/guard ./test/fleet ./test/connect
# The linters are a module of their own, whose programs Go builds once and keeps.
TOOL = go tool -modfile=$(CURDIR)/tools/go.mod

.PHONY: help go build cross notices demo test soak lab mutants test-matrix lint image e2e bench fuzz

help: ## print this list; the times are about those of two cores
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

go:
	@command -v go >/dev/null || { echo "please install Go 1.26 or later, see go.dev/doc/install" >&2; exit 1; }

build: go ## build the binary, with the same flags as the image (a second; 1 minute the first time)
	scripts/build.sh bin/evolution-openai-patch $(VERSION)

cross: go ## build the binary for every platform that is released, and run each, with qemu if need be (10 seconds; 2 minutes the first time)
	@scripts/postgres.sh qemu-user-static:/usr/bin/qemu-aarch64-static >/dev/null && scripts/cross.sh

notices: go ## write THIRD_PARTY_NOTICES, the licences of what is compiled in (a second)
	scripts/notices.sh >THIRD_PARTY_NOTICES.new && mv THIRD_PARTY_NOTICES.new THIRD_PARTY_NOTICES

demo: go ## show the program at work on a temporary PostgreSQL (10 seconds)
	@scripts/demo.sh

test: go ## run every test against a real PostgreSQL, which apt installs if it is missing (6 minutes)
	@PG_BINDIR=$$(scripts/postgres.sh $(TEST_PACKAGES)) && export PG_BINDIR && $$PG_BINDIR/postgres --version && scripts/test.sh -timeout 40m ./...

soak: go ## run the watch for five minutes and print its memory use at the beginning and at the end (5 minutes)
	@PG_BINDIR=$$(scripts/postgres.sh) && export PG_BINDIR && WATCH_SOAK=5m go test -count 1 -timeout 15m -v -run '^TestWatchSoak$$' ./test/connect | grep -vE 'level=INFO'

LAB ?= full
LAB_TESTS ?= .
lab: go ## try to break the program: cuts, histories, kills, load, lack of resources; prints the counts (many hours)
	@PG_BINDIR=$$(scripts/postgres.sh) && export PG_BINDIR && export LAB=$(LAB) LAB_COUNTS=$$(mktemp) && \
		{ go test -count 1 -timeout 6h -run '$(LAB_TESTS)' ./test/lab; status=$$?; cat $$LAB_COUNTS; rm $$LAB_COUNTS; exit $$status; }

MUTANTS ?= 0
mutants: go ## change one thing at a time in the pure parts of the program, and print the changes that no unit test notices (an hour)
	go run ./test/mutants -n $(MUTANTS) patch/plan/plan.go patch/plan/index.go patch/plan/padding.go patch/plan/trust.go patch/plan/guard.go patch/plan/selection.go patch/config/config.go patch/config/choice.go patch/config/names.go patch/report.go patch/line.go patch/plan/duplicates.go patch/postgres/classify.go

MAJORS ?= $(shell sed -n "s/^\([0-9]*\) .*/\1/p" scripts/postgres-majors)
test-matrix: go ## run the database tests on each PostgreSQL in MAJORS, by default those of scripts/postgres-majors, installed by Debian or fetched with npm (5 minutes for each)
	@scripts/postgres.sh $(TEST_PACKAGES) >/dev/null && for major in $(MAJORS); do \
		PG_BINDIR=$$(scripts/postgres-major.sh $$major) && export PG_BINDIR && $$PG_BINDIR/postgres --version && RACE=no scripts/test.sh -timeout 40m $(DATABASE_TESTS) || exit 1; done

bench: go ## compare time and memory with those of psql and of a loop of the shell, in the same run, and watch 200 databases; fails where a figure is above its bound (45 minutes; 20 with BENCH_FLEET=100 BENCH_WATCH=3m)
	@PG_BINDIR=$$(scripts/postgres.sh time:/usr/bin/time) && export PG_BINDIR && go test -run '^$$' -bench . -benchtime 1x -timeout 2h ./test/lab

FUZZ ?= 1m
fuzz: go ## fuzz the parsers, for longer than their seeds (6 times FUZZ)
	go test -run '^$$' -fuzz FuzzURI -fuzztime $(FUZZ) ./patch/prisma
	go test -run '^$$' -fuzz FuzzConfig -fuzztime $(FUZZ) ./patch/config
	go test -run '^$$' -fuzz FuzzAnswers -fuzztime $(FUZZ) ./patch/catalog
	go test -run '^$$' -fuzz FuzzNames -fuzztime $(FUZZ) ./patch/catalog
	go test -run '^$$' -fuzz FuzzIdentifier -fuzztime $(FUZZ) ./patch/quote
	go test -run '^$$' -fuzz FuzzServerMessages -fuzztime $(FUZZ) -fuzzminimizetime 100x ./patch/postgres

lint: go ## run the linters (10 seconds; 3 minutes the first time)
	@go mod tidy -diff && for module in tools test/testdata/e2e/pod; do go -C $$module mod tidy -diff || exit 1; done
	@found=$$($(TOOL) gofumpt -l .) && if [ -n "$$found" ]; then echo "not as gofumpt writes it: $$found" >&2; exit 1; fi
	go vet -tags e2e ./... ./test/testdata/e2e/evolution && go -C test/testdata/e2e/pod vet .
	GOARCH=arm go vet ./... # the one 32-bit platform that is released
	$(TOOL) staticcheck -tags e2e ./... ./test/testdata/e2e/evolution
	$(TOOL) actionlint
	shellcheck scripts/*.sh .ci/run .ci/*.sh test/testdata/e2e/*.sh
	yamllint -s -d '{extends: default, rules: {line-length: disable, document-start: disable, truthy: {check-keys: false}}}' .github compose.example.yml deploy test/real

image: ## build the Docker image (1 minute)
	DOCKER_BUILDKIT=1 docker build --build-arg VERSION=$(VERSION) -t $(IMAGE) .

KUBELET ?= kept
E2E_TESTS ?= .
e2e: go ## the image, the compose example and deploy/ on a real Docker engine; KUBELET=build builds the kubelet that some need (10 minutes; 5 more for the kubelet)
	@scripts/postgres.sh qemu-user-static:/usr/bin/qemu-aarch64-static buildah:/usr/bin/buildah >/dev/null
	@skip=(); if [ $(KUBELET) != build ]; then test/testdata/e2e/kubelet.sh --kept || skip=(-skip '^TestE2EKubernetes'); fi; set -x; \
		go test -count 1 -tags e2e -timeout 60m -v -run '$(E2E_TESTS)' "$${skip[@]}" ./test/e2e
