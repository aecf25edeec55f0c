# Written by hapkg; schroot's setup scripts read it, as root, at every step of a session of this chroot.
#
# hapkg.layer=KEY   the session sees the layer KEY, and what that lies on, between the base and what it writes itself
# hapkg.save=KEY    what the session writes becomes the layer KEY, on that of hapkg.layer, when it ends, if it left the
#                   mark behind
# hapkg.base=yes    the base itself must be as it was made
# hapkg.sweep=yes   layers that hapkg has put aside are removed
#
# Layers hold files of root, so all that is done to them is done here: whoever may enter the chroot needs no other right.
base=@BASE@
layers=@LAYERS@
mark=srv/hapkg/layer-is-complete

for hapkg_key in "${HAPKG_LAYER-}" "${HAPKG_SAVE-}"; do
    case $hapkg_key in
        *[!0-9a-f]*) echo "error: hapkg: $hapkg_key is no layer" >&2; exit 1 ;;
    esac
done

hapkg_list() {
    ( cd "$1" && @LIST@ )
}

if [ "$STAGE" = setup-start ] && [ -n "${HAPKG_BASE-}" ] && [ "${0##*/}" = 10mount ] \
    && [ "$(hapkg_list "$base/root")" != "$(cat "$base/listing")" ]; then
    echo "error: hapkg: the base chroot is damaged" >&2
    exit 1
fi
if [ -n "${HAPKG_SAVE-}" ]; then
    CHROOT_UNION_OVERLAY_DIRECTORY=$layers/.new-$HAPKG_SAVE
fi
if [ "$STAGE" = setup-start ] && [ -n "${HAPKG_LAYER-}${HAPKG_SAVE-}" ] && [ "${0##*/}" = 10mount ]; then
    hapkg_lower=$CHROOT_UNION_UNDERLAY_DIRECTORY
    hapkg_chain= hapkg_key=${HAPKG_LAYER-}
    while [ -n "$hapkg_key" ]; do
        hapkg_chain="$hapkg_key $hapkg_chain"
        hapkg_key=$(cat "$layers/$hapkg_key/below")
    done
    for hapkg_key in $hapkg_chain; do
        hapkg_lower=$layers/$hapkg_key/root:$hapkg_lower
        if [ "$(hapkg_list "$layers/$hapkg_key/root")" != "$(cat "$layers/$hapkg_key/listing")" ]; then
            echo "error: hapkg: the layer $hapkg_key is damaged" >&2
            exit 1
        fi
    done
    mkdir -p "$CHROOT_UNION_OVERLAY_DIRECTORY/root" "$CHROOT_UNION_OVERLAY_DIRECTORY/work"
    # Volatile: what is thrown away need not reach the disk, and what is kept is waited for below, once.
    CHROOT_UNION_MOUNT_OPTIONS="volatile,lowerdir=$hapkg_lower,upperdir=$CHROOT_UNION_OVERLAY_DIRECTORY/root,workdir=$CHROOT_UNION_OVERLAY_DIRECTORY/work"
fi
if [ "$STAGE" = setup-start ] && [ -n "${HAPKG_SWEEP-}" ] && [ "${0##*/}" = 10mount ]; then
    rm -rf --one-file-system -- "$layers"/.old-*
fi
# The last script of an ending session: everything is unmounted, and the overlay still there.
if [ "$STAGE" = setup-stop ] && [ -n "${HAPKG_SAVE-}" ] && [ "${0##*/}" = 05union ] \
    && [ -e "$CHROOT_UNION_OVERLAY_DIRECTORY/root/$mark" ]; then
    rm "$CHROOT_UNION_OVERLAY_DIRECTORY/root/$mark"
    rm -rf "$CHROOT_UNION_OVERLAY_DIRECTORY/work"
    hapkg_list "$CHROOT_UNION_OVERLAY_DIRECTORY/root" > "$CHROOT_UNION_OVERLAY_DIRECTORY/listing"
    du -sk "$CHROOT_UNION_OVERLAY_DIRECTORY/root" | cut -f 1 > "$CHROOT_UNION_OVERLAY_DIRECTORY/size"
    echo "${HAPKG_LAYER-}" > "$CHROOT_UNION_OVERLAY_DIRECTORY/below"
    chmod 755 "$CHROOT_UNION_OVERLAY_DIRECTORY"
    sync -f "$CHROOT_UNION_OVERLAY_DIRECTORY/listing"
    rm -rf --one-file-system -- "$layers/$HAPKG_SAVE"
    mv -T -- "$CHROOT_UNION_OVERLAY_DIRECTORY" "$layers/$HAPKG_SAVE"
    sync "$layers"
fi
