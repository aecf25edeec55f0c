# make stack       set up, build everything, publish to ./apt, and say what to run on a node
# make test        unit, golden and chroot tests
# make acceptance  the real stack: build, publish, install, run
SUITE ?= bookworm
PYTHON ?= python3
VENV = .venv
HAPKG = $(VENV)/bin/hapkg

# Real programs only; hapkg doctor names the ones that are missing. The last line is for tests: other readers of a repository.
APT_PACKAGES = apt-utils autoconf automake binutils build-essential debhelper debian-archive-keyring devscripts \
    dpkg-dev fakeroot git gnupg iproute2 libtool lintian mercurial mmdebstrap openssh-client pkgconf procps \
    python3-venv sbuild schroot sudo uidmap util-linux xz-utils \
    aptly debmirror reprepro sqv
AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: setup stack test unit lint acceptance clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml constraints.txt Makefile
	missing=$$(for p in $(APT_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    $(AS_ROOT) apt-get update -q && \
	    $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

stack: setup
	$(HAPKG) build-all --suite $(SUITE)
	$(HAPKG) publish --repo ./apt --suite $(SUITE)

test: setup
	$(AS_ROOT) $(VENV)/bin/pytest tests/unit $(sort $(wildcard tests/test_*.py)) tests/chroot

unit: setup
	$(VENV)/bin/pytest tests/unit

lint: setup
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

acceptance: setup
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest tests/acceptance

clean:
	$(HAPKG) clean
