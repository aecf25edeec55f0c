#!/bin/sh
# Crafted file systems: whoever reads one ends by itself, not by a signal (CVE-2026-71219 to CVE-2026-71224).
# crafted-images.sh TOP: TOP is the tree that was built.
set -eu
top=$(cd "$1" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
image=$folder/image
ulimit -c 0

edit="$top/gfs2/edit/gfs2_edit"

fresh() {
	case=$1
	rm -f "$image"
	truncate -s 64M "$image"
	"$top/gfs2/mkfs/mkfs.gfs2" -O -q -p lock_nolock -J 8 "$image" > "$folder/log"
}

address() { "$edit" -p "$1" "$image" | sed -n '/no_addr/{s/ *no_addr *\([0-9]*\) .*/\1/p;q}'; }

# poke STRUCTURE OFFSET BYTES: bytes as printf writes them, counted from the start of the block
poke() { printf "$3" | dd of="$image" conv=notrunc bs=1 seek=$(($(address "$1") * 4096 + $2)) status=none; }

# survives COMMAND...: whatever its answer is
survives() {
	status=0
	timeout 30 "$@" < /dev/null > "$folder/log" 2>&1 || status=$?
	[ $status -lt 124 ] || [ $status -eq 255 ] && return
	tail -n 5 "$folder/log"
	printf '%s\n' "FAIL: $case: $* ended with $status"
	exit 1
}

read_it() {
	survives "$top/gfs2/fsck/fsck.gfs2" -n "$image"
	survives "$edit" savemeta "$image" "$folder/saved"
	survives "$edit" savergs "$image" "$folder/saved"
	for structure in sb root master rindex rgs jindex "rg 0"; do
		survives "$edit" -p $structure "$image"
	done
	survives "$top/gfs2/fsck/fsck.gfs2" -y "$image"
	printf '%s\n' "ok: $case"
}

# In a dinode, all big-endian: di_size at 56, di_flags at 128, di_height at 138, di_depth at 146; GFS2_DIF_EXHASH is 2.
for structure in root rindex jindex statfs; do
	fresh "the height of $structure"; poke $structure 138 '\377\377'; read_it
done
fresh "a height that is one too high"; poke root 138 '\000\013'; read_it

exhash() { fresh "$1"; poke root 128 '\000\000\000\002'; poke root 146 "$2"; }
for depth in '\000\022' '\000\037' '\000\050' '\377\377'; do
	exhash "a directory of depth octal $depth" "$depth"; read_it
	exhash "a directory of depth octal $depth and height 1" "$depth"; poke root 138 '\000\001'; read_it
done
exhash "a hash table as large as a great depth wants" '\000\033'
poke root 138 '\000\001'; poke root 56 '\000\000\000\000\100\000\000\000'; read_it

# The rindex is a stuffed file, whose first entry follows the dinode of 232 bytes
fresh "a resource group of 2^20+1 bitmaps"; poke rindex 240 '\000\020\000\001'; read_it
fresh "a resource group without bitmaps"; poke rindex 240 '\000\000\000\000'; read_it
fresh "a bitmap that is longer than its block"
poke rindex 256 '\100\000\000\000\020\000\000\000'; read_it

# A stuffed directory, whose first entry follows its dinode
fresh "an entry with a long name"; poke root 254 '\377\377'; read_it
fresh "an entry with a long record"; poke root 252 '\377\377\377\377'; read_it
