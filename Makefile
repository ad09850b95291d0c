# The first of these that can hold the portal; PYTHON=... chooses another.
FIT = import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell $(name) -c '$(FIT)' 2>/dev/null && echo $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8000
PYTEST = $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) $(ARGS)
TEST_PROCESSES ?= auto
# A portal of its own for a measurement, on a PostgreSQL that waits for its disk: $(LAB) -- COMMAND
LAB = $(BIN)/python -m pickup_portal.testing.lab
CARDS ?= 1000000
# Hundreds of processes start in the tests: let the first one keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE
REDEMPTIONS ?= 3200

.PHONY: run test test-postgres test-sqlite lint crashes races fuzz broker-outage short-codes bench-redeem chaos crash-points look look-staff hanging-provider bench-generate bench-lists bench-pages codes-proof leak-scan bench-orders bench-export

run: $(VENV)/.installed
	@exec $(BIN)/python manage.py serve --demo --port $(PORT)

test: test-postgres test-sqlite

test-postgres: $(VENV)/.installed-dev
	$(PYTEST)

# These adapters' tests know no database; the other run has them.
NO_DATABASE = $(patsubst %,--ignore=orders/tests/provisioning/test_%.py,cpanel simulator virtualmin webhook)

test-sqlite: $(VENV)/.installed-dev
	PORTAL_TEST_DB=sqlite $(PYTEST) $(NO_DATABASE)

# Proofs that take minutes, on real processes. CARDS and KILLS set the size.
HEAVY = $(BIN)/python -m pytest -q -n0 -s -m heavy

leak-scan: $(VENV)/.installed-dev
	$(HEAVY) pickup_portal/tests/test_leak_scan.py

codes-proof: $(VENV)/.installed-dev
	$(HEAVY) cards/tests/test_codes_proof.py

crashes: $(VENV)/.installed-dev
	$(HEAVY) pickup_portal/tests/test_generation_crashes.py

chaos: $(VENV)/.installed-dev
	$(HEAVY) orders/tests/test_chaos.py

crash-points: $(VENV)/.installed-dev
	LOG_LEVEL=ERROR $(HEAVY) orders/tests/test_crash_points.py

look: $(VENV)/.installed-dev
	$(HEAVY) pickup_portal/tests/test_member_centre.py

look-staff: $(VENV)/.installed-dev
	$(HEAVY) pickup_portal/tests/test_staff_look.py

hanging-provider: $(VENV)/.installed-dev
	$(HEAVY) orders/tests/test_hanging_provider.py

races: $(VENV)/.installed-dev
	LOG_LEVEL=ERROR $(HEAVY) orders/tests/test_races.py
	PORTAL_TEST_DB=sqlite LOG_LEVEL=ERROR $(HEAVY) orders/tests/test_races.py

.PHONY: machine-race
machine-race: $(VENV)/.installed-dev
	LOG_LEVEL=ERROR $(HEAVY) orders/tests/test_machine_race.py

fuzz: $(VENV)/.installed-dev
	$(HEAVY) pickup_portal/tests/test_fuzz.py

broker-outage: $(VENV)/.installed-dev
	$(HEAVY) orders/tests/test_broker_outage.py

short-codes: $(VENV)/.installed-dev
	LOG_LEVEL=ERROR $(HEAVY) orders/tests/test_short_codes.py

bench-redeem: $(VENV)/.installed-dev
	$(LAB) -- $(BIN)/python manage.py bench redeem -n $(REDEMPTIONS) --i-know-it-makes-cards-and-orders

bench-orders: $(VENV)/.installed-dev
	$(LAB) -- $(BIN)/python manage.py bench orders --i-know-it-makes-cards-and-orders

bench-generate: $(VENV)/.installed-dev
	$(LAB) --worker -- $(BIN)/python manage.py bench generate -n $(CARDS) --i-know-it-makes-cards-and-orders

bench-export: $(VENV)/.installed-dev
	$(LAB) -- $(BIN)/python manage.py bench export -n $(CARDS) --i-know-it-makes-cards-and-orders

bench-pages: $(VENV)/.installed-dev
	$(LAB) --demo -- $(BIN)/python manage.py bench scale -n $(CARDS) --i-know-it-makes-cards-and-orders

bench-lists: $(VENV)/.installed-dev
	$(LAB) --demo -- $(BIN)/python manage.py bench lists -n $(CARDS) --i-know-it-makes-cards-and-orders

.PHONY: test-providers
# The adapters against real control planes, from Debian and pip. WRITE_CONFORMANCE=1 writes docs/adapters.md's table.
test-providers: $(VENV)/.installed-dev
	orders/tests/provisioning/lab/providers $(BIN)/python $(ARGS)

.PHONY: test-openstack
test-openstack: $(VENV)/.installed-dev
	orders/tests/provisioning/lab/openstack $(BIN)/python $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(if $(PYTHON),,$(error Python 3.11 or newer with its venv module is needed))
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.installed
