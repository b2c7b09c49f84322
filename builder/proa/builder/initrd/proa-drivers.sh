#!/bin/sh
# proa-drivers.sh LIST MODULES: the kernel modules that a list (drivers.list) asks for, by name, one a line.
#   MODULES   the folder of one kernel's modules, as /usr/lib/modules/6.1.0-1-amd64
set -eu

words() {
    sed 's/#.*//' "$1" | tr -s ' \t' '\n' | sed '/^$/d'
}

# names: what is asked for; the kernel takes "-" and "_" in a name for the same.
names() {
    words "$1" | grep -v '^[=-]' || :
    for folder in $(words "$1" | sed -n 's/^=//p'); do
        [ ! -d "$2/kernel/$folder" ] || find "$2/kernel/$folder" -name '*.ko*'
    done | sed 's|.*/||; s|[.]ko.*||'
}

unwanted=$(words "$1" | sed -n 's/^-//p' | tr - _)
names "$1" "$2" | tr - _ | sort -u | grep -vxF "${unwanted:-/}"
