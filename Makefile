# One set of verbs, here and in CI. Everything is set up by scripts/setup.
.PHONY: build run test lint bench fuzz asan clean
build: ; @scripts/setup dev
