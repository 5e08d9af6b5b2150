# One set of verbs, here and in CI. Everything is set up by scripts/setup, from a bare Debian 12 on.
.PHONY: build run test lint bench fuzz asan clean
# Files go to two processes, since tests mostly wait.
PYTEST_ARGS ?= -n 2 --dist loadfile

build:  ## build and install the package into .venv
	@scripts/setup dev

run:  ## a demo gateway in front of a demo upstream
	@scripts/run

test:  ## the whole suite; PYTEST_ARGS="tests/wire -x" picks
	@scripts/setup test
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

lint:  ## ruff, mypy, cython-lint, codespell, import-linter
	@scripts/setup dev
	@scripts/lint

bench:  ## the speed and memory figures of docs/performance.md; BENCH_ARGS="--scenario plain --rounds 5" picks
	@scripts/setup bench
	@.venv/bin/python -m bench $(BENCH_ARGS)

fuzz:  ## parsers against references, hostile peers against an engine: FUZZ_SECONDS for each target
	@scripts/setup dev
	@.venv/bin/python -m fuzz $(FUZZ_SECONDS)

asan:  ## the suite under AddressSanitizer, with bounds checks on
	@scripts/setup test
	@scripts/asan

clean:
	rm -rf build dist .venv .venv-bench .venv-asan .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/results
