# dachub: `make up` on a fresh machine needs only python3 (>= 3.11), git and make.
PYTHON ?= python3
ARGS ?=
BASE_IMAGE ?= docker.io/library/python:3.12-slim-bookworm
SETUP = @$(PYTHON) scripts/environments.py
# Where the environments really are; expanded when a recipe runs, after they were made.
BIN = $(realpath .venv)/bin
export DACHUB_USER_ENVIRONMENT = $(realpath .environments/astronomy)/bin/python
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

.PHONY: help up environments test-environments test test-kill test-k8s test-watching test-logging test-images test-tofu bench lint format reference pictures docs helm lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

up: environments ## Set everything up and run the platform (ARGS="--data DIR --port N --host H")
	@exec $(BIN)/dachub up $(ARGS)

environments: ## Set up what the platform and its users run in
	$(SETUP) server user

test-environments:
	$(SETUP) server dev user browser

test: lint ## Check the code, then run all tests (ARGS="-k name" to choose)
	$(SETUP) browser nginx
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --ignore tests/k8s $(ARGS)

test-kill: test-environments ## Kill every part at random moments of 220 sessions (ARGS="-s" to watch)
	@DACHUB_KILL_SESSIONS=220 $(BIN)/python -m pytest tests/platform/test_kill.py $(ARGS)

test-images: test-environments ## Build the images and look into them (BASE_IMAGE=NAME; needs docker, podman or buildah)
	@DACHUB_TEST_BASE_IMAGE="$(BASE_IMAGE)" DACHUB_TEST_CERTIFICATES="$(CERTIFICATES)" \
		$(BIN)/python -m pytest -v tests/images $(ARGS)

lint: test-environments ## Check style, types and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: test-environments ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-tofu: test-environments ## Check deploy/tofu with OpenTofu, before a cloud that is made up (needs tofu)
	@$(BIN)/python -m pytest tests/deploy/test_tofu.py $(ARGS)

test-k8s: test-environments ## Test on the cluster that KUBECONFIG names; docs/testing.md says what it needs
	@$(BIN)/python -m pytest tests/k8s $(ARGS)

test-watching: test-environments ## Test alerts, runbooks and dashboard with a real Prometheus (needs Debian's package prometheus)
	@$(BIN)/python -m pytest tests/watching tests/platform/test_watching.py $(ARGS)

test-logging: test-environments ## Ship logs by a real Filebeat into a real OpenSearch (needs go, java 17, mvn, helm)
	@$(BIN)/python -m scripts.logging_tools
	@DACHUB_TEST_LOGGING=1 $(BIN)/python -m pytest tests/logging $(ARGS)

bench: test-environments ## Measure; docs/performance.md says what is measured
	@$(BIN)/python -m benchmarks $(ARGS)

reference: test-environments ## Write the pages of the documentation that are made of the program
	$(BIN)/python -m scripts.reference

pictures: test-environments ## Take the documentation's pictures anew
	@$(BIN)/python -m pytest -q tests/hub/test_rescue_page.py tests/platform/test_main_scenario.py
	$(BIN)/python -m scripts.pictures

docs: reference ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

helm: ## Build Helm from its Go module, for the tests of the chart, where there is none (needs go)
	GOBIN=$(CURDIR)/.environments/bin go install helm.sh/helm/v3/cmd/helm@v3.22.0

lock: environments ## Write the hashed lock files anew, with the newest releases (ARGS="--upgrade")
	$(LOCK) $(ARGS) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(LOCK) $(ARGS) pyproject.toml --extra local requirements/server.in -o requirements/server.txt
	$(LOCK) $(ARGS) requirements/user.in -c requirements/server.txt -o requirements/user.txt
	cp requirements/user.txt requirements/user-5.txt  # the same versions where JupyterHub 5 takes them
	$(LOCK) $(ARGS) requirements/user-5.in -o requirements/user-5.txt
	$(LOCK) $(ARGS) pyproject.toml --extra kubernetes requirements/dev.in -c requirements/server.txt -c requirements/user.txt \
		-o requirements/dev.txt
	$(LOCK) $(ARGS) requirements/build.in -c requirements/server.txt -o requirements/build.txt
	$(LOCK) $(ARGS) pyproject.toml --extra server requirements/service.in -c requirements/server.txt \
		-o requirements/service.txt
	$(LOCK) $(ARGS) pyproject.toml --extra kubernetes requirements/hub.in -o requirements/hub.txt
	$(LOCK) $(ARGS) pyproject.toml --extra kubernetes requirements/hub-6.in \
		-c requirements/server.txt -o requirements/hub-6.txt

clean: ## Remove the environments and everything generated; never a data directory
	@for link in .venv .environments/astronomy; do \
		if [ -L $$link ]; then rm -rf -- "$$(readlink -f $$link)"; fi; done
	rm -rf .venv .environments build dist docs/_build test-results screenshots \
		.pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
