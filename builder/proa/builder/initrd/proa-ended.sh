#!/bin/sh
# Note how far a try of a trial came and how it ended, so that the good slot can tell: on the console, in the firmware's
# store of kernel messages, and on PERSIST where that is mounted. A copy in /run outlives the switch of root; of the
# release it needs a shell and coreutils.
#   $1 started, deadline, emergency or initrd   $2 what happened; nothing for "started"
set -u
run=${PROA_RUN:-/run/proa}
dump=${PROA_DUMP:-/sys/module/printk/parameters/always_kmsg_dump}

# write FOLDER CAUSE TEXT: the note as a whole, or the one before it.
write() {
    text=$(printf %s "$3" | tr '"' "'" | tr '\134' / | LC_ALL=C tr -cd '[:print:]' | head -c 500)
    printf '{"schema": "proa.try/v1", %s, "cause": "%s", "what": "%s"}\n' "$(cat "$run/try")" "$2" "$text" \
        >"$1/trial.new" && sync "$1/trial.new" && mv "$1/trial.new" "$1/trial" && sync "$1"
}

[ ! -e "$run/ended" ] || exit 0
if [ "$1" != started ]; then
    echo "$1" >"$run/ended"
    echo "<2>proa: $2" >>"${PROA_LOG:-/dev/kmsg}"
    # The kernel leaves its last messages in pstore as it does when it panics: PERSIST may not be mounted yet.
    [ ! -w "$dump" ] || echo Y >"$dump"
fi
for folder in ${PROA_PERSIST:-"$run/mount" /sysroot/persist /persist}; do
    [ ! -d "$folder/.proa" ] || write "$folder/.proa" "$1" "${2-}"
done
