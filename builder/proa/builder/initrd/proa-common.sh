# Shell functions of the initrd's scripts (POSIX sh).
# shellcheck shell=sh
run=${PROA_RUN:-/run/proa}
log=${PROA_LOG:-/dev/kmsg}
mkdir -p "$run"

# say TEXT, die TEXT: for the console and, when it comes up, the journal.
say() {
    echo "<5>proa: $*" >>"$log"
}

die() {
    keep error "$*"
    echo "<2>proa: $*" >>"$log"
    exit 1
}

# keep NAME VALUE, kept NAME: facts of this boot that a later script needs.
keep() {
    echo "$2" >"$run/$1"
}

kept() {
    cat "$run/$1" 2>/dev/null
}

# stage NAME: what is being done. Where a failure happens decides what is done about it (proa-fail.sh).
stage() {
    keep stage "$1"
}

# argument NAME: the value of NAME=... on the kernel's command line, in a shell of its own. Of two it takes none: only
# one of them can be the signed one, since firmware and hypervisors may add to the line (systemd-stub(7)).
argument() (
    set -f
    read -r line <"${PROA_CMDLINE:-/proc/cmdline}" || :
    value='' found=0
    # shellcheck disable=SC2086 # words are wanted
    for word in $line; do
        case $word in "$1="*) value=${word#*=} found=$((found + 1)) ;; esac
    done
    [ "$found" -le 1 ] || die "the command line has $1 more than once"
    echo "$value"
)
