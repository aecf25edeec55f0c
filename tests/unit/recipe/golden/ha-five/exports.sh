#!/bin/sh
# The environment every source of the stack is built in. debian/rules sources this file before anything else, and so
# can you: `. debian/exports.sh` in the unpacked source package gives the same shell the build had.
export PREFIX=/opt/ha
export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig:$PREFIX/share/pkgconfig
export LCRSODIR=$PREFIX/libexec/lcrso
export LDFLAGS="-L$PREFIX/lib -Wl,-rpath,$PREFIX/lib -Wl,--enable-new-dtags"
export CPPFLAGS=-I$PREFIX/include
export CFLAGS=-I$PREFIX/include
export CLUSTER_USER=hacluster
export CLUSTER_GROUP=haclient

# Programs that were built earlier and run during a build, from our prefix first.
export PATH=$PREFIX/sbin:$PREFIX/bin:$PATH

# Debian's flags (optimisation, hardening, path-independent debug information) come first, so that ours can add to
# them but a private header or library is never hidden by a system one of the same name.
if command -v dpkg-buildflags >/dev/null; then
    CFLAGS="$(dpkg-buildflags --get CFLAGS) $CFLAGS"
    CPPFLAGS="$CPPFLAGS $(dpkg-buildflags --get CPPFLAGS)"
    LDFLAGS="$(dpkg-buildflags --get LDFLAGS) $LDFLAGS"
    CXXFLAGS="$(dpkg-buildflags --get CXXFLAGS) -I$PREFIX/include"
    export CXXFLAGS
fi
