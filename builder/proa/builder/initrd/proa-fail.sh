#!/bin/sh
# The way out of every failure in the initrd: say what happened, try the other slot if the good one is broken and the
# other is known to be whole, and reboot. Nothing waits for a person, but nothing goes round for ever either: boots in
# which no slot came up are counted in the boot state, and after some of them the machine stops with a message that
# stays. The manager that runs this feeds the watchdog meanwhile.
set -u
. "${0%/*}"/proa-common.sh
. "${0%/*}"/proa-state.sh

# A slot is broken when its root cannot be opened, mounted or switched to; a disk that is not found or a PERSIST that
# cannot be mended says nothing about it.
slot_is_broken() {
    case $(kept stage) in root | switch) return 0 ;; *) return 1 ;; esac
}

# stopped HOW: says so again and again, for whoever looks at the console, or attaches one, later; or "once".
stopped() {
    while :; do
        echo "<0>proa: STOPPED: no slot comes up ($error); repair the disk and switch the machine off and on" >>"$log"
        sleep "$repeat"
        [ "$1" != once ] || return 0
    done
}

repeat=${PROA_REPEAT:-60}
error=$(kept error)
error=${error:-see the failed units}
say "this boot failed (stage: $(kept stage)): $error"
say "failed: $(timeout 20 systemctl --failed --no-legend --plain | cut -d" " -f1 | tr '\n' " ")"
if [ "$(kept trial)" = true ]; then
    timeout 30 "${0%/*}"/proa-ended.sh initrd "the initrd failed (stage: $(kept stage)): $error"
elif [ -z "$(kept state)" ]; then
    # Without the disk nothing can be counted. It may come back, so it is looked for again, but not in haste.
    repeat=$((repeat * 60))
    stopped once
else
    proa_state_round "$(kept state)" || stopped always
    if slot_is_broken; then
        proa_state_heal "$(kept state)" "$(kept slot)" && say "the other slot is known to be good: trying it once"
    fi
fi
say "rebooting in 10 seconds"
timeout 20 sync
sleep 10
