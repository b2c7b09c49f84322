#!/bin/sh
# The way out of every failure in the initrd: say what happened, try the other slot if the good one is broken and
# the other is known to be whole, and reboot. Nothing waits for a person.
set -u
. "${0%/*}"/proa-common.sh
. "${0%/*}"/proa-state.sh

# A slot is broken when its root cannot be opened, mounted or switched to; a disk that is not found or a PERSIST that
# cannot be mended says nothing about it.
slot_is_broken() {
    case $(kept stage) in root | switch) return 0 ;; *) return 1 ;; esac
}

error=$(kept error)
say "this boot failed (stage: $(kept stage)): ${error:-see the failed units}"
say "failed: $(systemctl --failed --no-legend --plain | cut -d" " -f1 | tr '\n' " ")"
[ "$(kept trial)" != true ] || "${0%/*}"/proa-ended.sh initrd "the initrd failed (stage: $(kept stage)): ${error:-a unit failed}"
if slot_is_broken && [ "$(kept trial)" = false ]; then
    proa_state_heal "$(kept state)" "$(kept slot)" && say "the other slot is known to be good: trying it once"
fi
say "rebooting in 10 seconds"
sync
sleep 10
