# make stack       set up, build everything, publish to ./apt, and say what to run on a node
# make check       the tests: test and test-chroot in one run
# make test        unit tests, and real programs: four processes side by side (TEST_JOBS=1: one); six minutes
# make test-chroot a miniature stack in real chroots: built, broken, interrupted, published and installed
# make test-long   chroot tests that build much: drafts, bumps, snapshots, the build cache, ccache, Rust and Go, an ordinary user, sbuild
# make acceptance  the real stack: build, publish, install, run
# make acceptance-long  the rest of it: every command of crm, systemd, members that come and go, services, upgrades, Debian's next release
# make endurance   an engine that dies ten times under load, and comes back
# make conformance upstream's own test suites against the installed stack
# make prove       the real stack on real kernels: two machines form a cluster and lose a node; prove-short: 25 minutes
# make fuzz        readers of foreign bytes, by a coverage-guided fuzzer: twenty seconds each
# make piuparts    what each published package leaves behind
# make rebuilds    a small project rebuilt under every variation, and built from a folder where there is no network
# make scanner    Trivy on what is published: it says of the stack what hapkg audit says
# make deb       hapkg itself as a package, published to build/deb/apt: apt install hapkg (DEB_SUITE=forky DEB_URL=http://...)
# make guide     docs/acme.md from an empty folder, line by line: five upstreams, and a machine that installs them
# make arm64     a slice of the stack for arm64, emulated: in one repository and one cluster with this architecture's
# make farm      workers in real chroots; three of them that are killed at random moments, cut off and full
# make ubuntu    a slice of the stack for noble, from a stand-in for its archive
# make bench       builds against bare builds and sbuild, publishing against aptly, planning: an hour on a quiet machine
SUITE ?= bookworm
PYTHON ?= /usr/bin/python3
# Processes that share the tests; each has a base chroot of its own. Builds and servers are waited for: four processes
# keep two cores busy.
TEST_JOBS ?= 4
# The acceptance mostly waits for clusters; each of its processes forms one.
ACCEPTANCE_JOBS ?= 4
VENV = .venv
HAPKG = $(VENV)/bin/hapkg

# Real programs only; hapkg doctor names the ones that are missing. The last line is for tests: other readers of what hapkg writes.
APT_PACKAGES = apt-utils autoconf automake binutils bubblewrap build-essential debhelper debian-archive-keyring devscripts \
    diffoscope-minimal dpkg-dev fakeroot git gnupg iproute2 libtool lintian mercurial mmdebstrap openssh-client piuparts pkgconf procps \
    openssl python3-venv sbuild schroot sudo uidmap util-linux xz-utils zstd \
    aptly chromium cpio debmirror gpg-agent openssh-server reprepro rsync sqv systemd
# Machines of hapkg prove, and nothing else.
PROVE_PACKAGES = e2fsprogs netcat-openbsd qemu-system-x86 qemu-utils
PROVE_REPO = ./prove/apt
AS_ROOT = $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: setup stack check test test-chroot test-long fuzz unit lint lint-rules lint-format lint-types lint-rooms acceptance acceptance-long endurance conformance prove prove-short prove-machines prove-setup prove-repo piuparts rebuilds scanner deb guide arm64 farm ubuntu bench clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml constraints.txt Makefile
	missing=$$(for p in $(APT_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    $(AS_ROOT) apt-get update -q && \
	    $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat -e '.[test]'
	$(VENV)/bin/python -m compileall -q hapkg
	mkdir -p $(VENV)/share/man/man1 $(VENV)/share/bash-completion/completions $(VENV)/share/zsh/site-functions
	$(HAPKG) manual > $(VENV)/share/man/man1/hapkg.1
	$(HAPKG) completion bash > $(VENV)/share/bash-completion/completions/hapkg
	$(HAPKG) completion zsh > $(VENV)/share/zsh/site-functions/_hapkg
	touch $@

stack: setup
	$(HAPKG) build-all --suite $(SUITE)
	$(HAPKG) publish --repo ./apt --suite $(SUITE)

CHROOT = tests/integration/chroot
WORKERS = $(CHROOT)/test_workers.py
TEST_LONG = $(addprefix $(CHROOT)/,test_build_cache.py test_bump.py test_ccache.py test_draft.py test_further_archive.py test_ordinary_user.py test_plain_sbuild.py test_snapshot.py test_vendored_styles.py)

TEST = $(AS_ROOT) $(VENV)/bin/pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(TEST_LONG) $(WORKERS))

# In one run: the tests without chroots fill what the others wait.
check: setup
	$(TEST) tests/integration tests/unit

test: setup
	$(TEST) tests/integration tests/unit --ignore=$(CHROOT)

test-chroot: setup
	$(TEST) $(CHROOT)

test-long: setup
	$(AS_ROOT) $(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder $(TEST_LONG)

fuzz: setup
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat -e '.[fuzz]'
	$(VENV)/bin/python -m tests.fuzz

unit: setup
	$(VENV)/bin/pytest tests/unit

# The hooks of .pre-commit-config.yaml are these four.
lint: lint-rules lint-format lint-types lint-rooms

lint-rules: setup
	$(VENV)/bin/ruff check .

lint-format: setup
	$(VENV)/bin/ruff format --check .

lint-types: setup
	$(VENV)/bin/mypy

lint-rooms: setup
	$(VENV)/bin/lint-imports --no-logo

ACCEPTANCE = tests/system/acceptance
LONG = $(addprefix $(ACCEPTANCE)/,test_crm.py test_members.py test_piuparts.py test_release_upgrade.py test_remote.py test_services.py test_systemd.py test_upgrade.py)

acceptance: setup
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest -n $(ACCEPTANCE_JOBS) --dist loadfile --no-loadscope-reorder $(ACCEPTANCE) $(addprefix --ignore=,$(LONG))

acceptance-long: setup
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest $(LONG)

endurance: setup
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) HAPKG_ROUNDS=10 $(VENV)/bin/pytest tests/system/acceptance/test_engine_death.py

conformance: setup
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest tests/system/conformance

prove: prove-repo
	$(HAPKG) prove --repo $(PROVE_REPO) --suite $(SUITE)

prove-short: prove-repo
	$(HAPKG) prove --short --repo $(PROVE_REPO) --suite $(SUITE)

# Machines alone: boot one, speak to it, kill it, look for what is left.
prove-machines: prove-repo
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest tests/system/machines

prove-setup: setup
	missing=$$(for p in $(PROVE_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    $(AS_ROOT) apt-get update -q && \
	    $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi

# A repository of its own: the site of the proof is nobody's cluster.
prove-repo: prove-setup
	$(HAPKG) build-all --suite $(SUITE) --site hapkg/data/prove.site.toml
	$(HAPKG) publish --repo $(PROVE_REPO) --suite $(SUITE) --site hapkg/data/prove.site.toml

# hapkg as a package, for a release that has the Python packages which it needs.
DEB = build/deb
DEB_SUITE = trixie

deb: setup
	$(VENV)/bin/python packaging/fill.py $(DEB)
	$(HAPKG) --project $(DEB) build-all --suite $(DEB_SUITE)
	$(HAPKG) --project $(DEB) publish --suite $(DEB_SUITE) --repo $(DEB)/apt $(if $(DEB_URL),--url $(DEB_URL))

# What the guide of docs/acme.md takes for granted on its reader's machine.
guide: setup
	dpkg -s pipx >/dev/null 2>&1 || $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends pipx
	$(AS_ROOT) $(VENV)/bin/pytest tests/system/guide

# Programs of arm64 are run by qemu; arch-test tells whether they are. Where no service manager runs, as in a container,
# nothing has told the kernel yet.
arm64: setup
	missing=$$(for p in qemu-user-static arch-test binfmt-support; do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y $$missing; fi
	arch-test arm64 || $(AS_ROOT) update-binfmts --enable qemu-aarch64
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest tests/system/architectures

farm: setup
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest $(WORKERS) tests/system/farm

ubuntu: setup
	$(AS_ROOT) $(VENV)/bin/pytest tests/system/ubuntu

rebuilds: setup
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest tests/system/rebuilds

scanner: setup
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat -e '.[scanner]'
	env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest -rP tests/system/scanner

piuparts: setup
	$(AS_ROOT) env HAPKG_SUITE=$(SUITE) $(VENV)/bin/pytest tests/system/piuparts

bench: setup
	$(AS_ROOT) $(VENV)/bin/python benchmarks/build.py --suite $(SUITE)
	$(VENV)/bin/python benchmarks/plan.py
	$(VENV)/bin/python benchmarks/publish.py

clean:
	$(HAPKG) clean
