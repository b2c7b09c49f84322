# The commands of this repository. `make` alone lists them.
FOLDERS := core partition builder agent scheduler vm-tests

.DEFAULT_GOAL := help
.PHONY: help setup examples demo demo-cluster play-cluster proof test test-unit test-contract test-vm test-machines test-python313 lint lines coverage mutate fuzz crash-replay lock docs image push-image bench bench-build bench-delta bench-install bench-scheduler test-rollouts release clean bench-start two-installs

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## system packages and .venv; demo, test and the others call it first
	@scripts/setup

demo: setup ## build, sign, boot, upgrade and break a node in QEMU; report in build/demo
	@.venv/bin/python -m proa.vm.node.demo

demo-cluster: setup ## take twelve nodes of a real API server to a release, and back from a bad one; report in build/demo-cluster
	@.venv/bin/python -m proa.vm.simulated.demo

proof: setup ## three real nodes in QEMU roll to a release, back and forth, and undo two bad ones; report in build/proof
	@.venv/bin/python -m proa.vm.cluster.run $(if $(FAULT),--fault $(FAULT)) $(if $(SHORT),--short)

play-cluster: setup ## a cluster to try things on, until Ctrl-C: docs/tutorials/first-rollout.md
	@.venv/bin/python -m proa.vm.simulated.play

test: setup ## everything: lint, unit tests and their coverage, rollouts, contract and vm tests, with a summary by tier
	@scripts/test lint unit coverage rollouts contract vm

test-unit: setup ## unit tests: no network, no sleep, at most 10 s a folder
	@scripts/test unit coverage

test-rollouts: setup ## new random schedules of the planner, SCHEDULES (1000) of each kind: none breaks a promise
	@PROA_NEW_SCHEDULES=1 PROA_SCHEDULES=$(or $(SCHEDULES),1000) scripts/test rollouts

test-contract: setup ## tests against real parts: registry, cosign, loop devices, packages, Kubernetes API server
	@scripts/test contract

test-vm: setup ## tests on real firmware, boot loader and kernel in QEMU
	@scripts/test vm

test-machines: setup ## the story of an upgrade on every kind of machine: NVMe, SCSI, SATA, 4096-byte sectors, TPM, no clock; KINDS="..."
	@for kind in $(or $(KINDS),plain server nvme sata 4k no-clock); do .venv/bin/pytest -q -m vm -n 0 --proa-machine $$kind vm-tests/tests/node/test_node_upgrade.py || exit 1; done

test-python313: setup ## the unit tests on Python 3.13, in a root of Debian 13 that is made the first time
	@.venv/bin/python -m upkeep.python313

lint: setup ## ruff, mypy --strict, import-linter, limits of code lines
	@scripts/test lint

lines: setup ## code lines and tests of each folder, beside its limit; JSON=1
	@.venv/bin/python -m upkeep.lines $(if $(JSON),--json)

coverage: setup ## lines and branches that unit tests run, by folder, against the floors of pyproject.toml; FOLDERS="core agent"
	@.venv/bin/python -m upkeep.coverage $(if $(filter command line,$(origin FOLDERS)),$(FOLDERS))

mutate: setup ## put small defects into a copy of the tree, one at a time: the tests must notice each; NAMES="..." or SAMPLE=1
	@.venv/bin/python -m upkeep.mutate $(if $(SAMPLE),--sample) $(NAMES)

fuzz: setup ## give every parser of foreign bytes what nobody meant, MINUTES (10) in all; TARGETS="..."; report in build/fuzz
	@.venv/bin/python -m upkeep.fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(TARGETS)

crash-replay: setup ## cut the agent off at each write to a disk, and say what is lost; POINTS, AGAIN, BOOTS, SEED; report in build/crash-replay
	@.venv/bin/python -m proa.vm.crash.run $(if $(POINTS),--points $(POINTS)) $(if $(AGAIN),--again $(AGAIN)) $(if $(BOOTS),--boots $(BOOTS)) $(if $(SEED),--seed $(SEED))

two-installs: setup ## install what nodes use twice, and compare: what packages draw at random; PACKAGES="..."
	@.venv/bin/python -m upkeep.two_installs $(PACKAGES)

examples: setup ## build the complete configurations of docs/examples/nodes; NAMES="edge storage"; report in build/examples
	@.venv/bin/python -m upkeep.examples $(NAMES)

lock: setup ## requirements/dev.lock from pyproject.toml, for both Pythons; UPGRADE=1 takes newer versions
	@.venv/bin/python -m upkeep.lock $(if $(UPGRADE),--upgrade)

docs: setup ## write docs/reference from the tables in the code
	@.venv/bin/python docs/generate.py

image: setup ## the container image of scheduler and proxy as an OCI layout, without docker; build/image
	@.venv/bin/python -m container.build -o build/image

push-image: image ## bring it to a registry: make push-image TO=registry.example.net/proa-scheduler:stable
	@.venv/bin/python -m container.push build/image $(TO)

bench: bench-build bench-delta bench-install bench-scheduler bench-start ## every benchmark

bench-build: setup ## seconds per step, cold and repeated, against mkosi and goals; build/bench/build.json; CHECK=1 as below
	@.venv/bin/python benchmarks/build.py $(if $(CHECK),--check)

bench-delta: setup ## bytes that an update fetches, by frames and by a delta, against casync and zstd --patch-from; PAIRS="library"
	@.venv/bin/python benchmarks/delta.py $(foreach pair,$(PAIRS),--pair $(pair))

bench-install: setup ## seconds and memory of an install against zstd | dd; build/bench/install.json
	@.venv/bin/python benchmarks/install.py

bench-scheduler: setup ## the scheduler on 5,000 nodes and on 50, against raw LIST pages; CHECK=1 fails where a goal is missed
	@.venv/bin/python benchmarks/scheduler.py $(if $(CHECK),--check)

release: setup ## wheel, sdist, checksums, signature, notes into dist: RELEASE_KEY=release.key, or UNSIGNED=1 (and TESTS=0)
	@.venv/bin/python -m upkeep.release $(if $(RELEASE_KEY),--key "$(RELEASE_KEY)") $(if $(UNSIGNED),--unsigned $(if $(filter 0,$(TESTS)),--no-tests))

bench-start: setup ## CPU that the node's commands take to start, beyond Python's own; build/bench/start.json; CHECK=1 as above
	@.venv/bin/python benchmarks/start.py $(if $(CHECK),--check)

clean: ## take away what was built here (not the cache in ~/.cache/proa)
	rm -rf build dist
