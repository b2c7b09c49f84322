#!/bin/sh
# PERSIST in LUKS2: made at the first boot, opened at each one. Its key is sealed by the machine's TPM 2.0, which gives it
# out while Secure Boot is as it was then (PCR 7) and while the kernel image that runs is one that the release's owner has
# signed for this (PCR 11, systemd-measure(1)); the image carries that signature, so both slots and later releases open it.
#   open DEVICE    leaves it open as /dev/mapper/proa-persist
#   renew DEVICE   makes it anew, empty and under other keys, and leaves it open
#   leave          nothing that runs later is given the key by the TPM, until the next boot
#
# Whoever can write the disk writes the header too, so its ciphers are looked at before it is used. What is half made has
# the label "unfinished", or a mark in the partition's last block while there is no header, and is made again.
set -u
. "${0%/*}"/proa-common.sh
PATH=$PATH:/usr/lib/systemd
extra=${PROA_EXTRA:-/.extra}
tpm=${PROA_TPM:-/dev/tpm}
console=${PROA_CONSOLE:-/dev/console}
name=proa-persist
persist=$run/mount
key=$run/persist.key
public=$extra/tpm2-pcr-public-key.pem signature=$extra/tpm2-pcr-signature.json
mark="proa: PERSIST is being made"

has_tpm() {
    modprobe -aq tpm_crb tpm_tis
    tries=10
    until [ -e "${tpm}rm0" ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 1
    done
}

# phase WORD: extends PCR 11. The program has another name since systemd 255.
phase() {
    for program in systemd-pcrphase systemd-pcrextend; do
        if command -v "$program" >/dev/null; then
            "$program" --graceful "$1"
            return
        fi
    done
}

# rest: TPM2_Shutdown(CLEAR). A TPM that has given out a key and then loses its power takes that for an attempt to guess
# it, and after some of these it gives nothing for a while (TPM 2.0 Library, part 1, "Dictionary Attack Protection"). So
# it rests at once: the checks that follow take their time. What is extended later counts for nothing in this.
rest() {
    [ -e "${tpm}0" ] || return 0
    {
        printf '\200\001\000\000\000\014\000\000\001\105\000\000' >&3
        timeout 10 head -c 10 <&3 >/dev/null
    } 3<>"${tpm}0"
}

# last DEVICE: the number of its last block of 4096 bytes.
last() {
    if [ -b "$1" ]; then set -- "$(blockdev --getsize64 "$1")"; else set -- "$(wc -c <"$1")"; fi
    echo $(($1 / 4096 - 1))
}

marked() {
    [ "$(dd if="$1" bs=4096 skip="$(last "$1")" count=1 2>/dev/null | head -c "${#mark}" | tr -d '\0')" = "$mark" ]
}

# put_mark DEVICE, take_mark DEVICE
put_mark() {
    { echo "$mark"; head -c 4096 /dev/zero; } | dd of="$1" bs=4096 seek="$(last "$1")" count=1 iflag=fullblock \
        conv=notrunc,fsync 2>/dev/null
}

take_mark() {
    dd if=/dev/zero of="$1" bs=4096 seek="$(last "$1")" count=1 conv=notrunc,fsync 2>/dev/null
}

# is_bare DEVICE: whether it holds a file system as the factory or `proa-disk reset` makes it, with nothing in it.
is_bare() {
    mkdir -p "$persist"
    mount -t ext4 -o ro,noload "$1" "$persist" || return 1
    found=$(for path in "$persist"/* "$persist"/.[!.]* "$persist"/..?* "$persist"/.proa/* "$persist"/.proa/.[!.]*; do
        case ${path#"$persist/"} in
            lost+found | .proa | .proa/new) ;;
            *) [ ! -e "$path" ] || echo "$path" ;;
        esac
    done)
    [ -e "$persist/.proa/new" ] || found=none
    umount "$persist"
    [ -z "$found" ]
}

# content DEVICE: whole, unfinished, bare, or other.
content() {
    if cryptsetup isLuks --type luks2 "$1"; then
        case $(cryptsetup luksDump "$1" | sed -n 's/^Label:[[:space:]]*//p') in
            unfinished) echo unfinished ;;
            *) echo whole ;;
        esac
    elif marked "$1"; then
        echo unfinished
    elif is_bare "$1"; then
        echo bare
    else
        echo other
    fi
}

# as_made DEVICE: whether the header has nothing but what stands in one that was made here. A key slot or data under a
# cipher that does nothing would open for any key, and hold what somebody else has put there.
as_made() {
    metadata=$(cryptsetup luksDump --dump-json-metadata "$1") || return 1
    ! echo "$metadata" | grep -E '"(type|encryption|requirements|mandatory|flags)":' | tr -d ' \t,' | grep -vxF \
        -e '"type":"luks2"' -e '"type":"raw"' -e '"type":"luks1"' -e '"type":"pbkdf2"' -e '"type":"crypt"' \
        -e '"type":"systemd-tpm2"' -e '"type":"systemd-recovery"' -e '"encryption":"aes-xts-plain64"' >&2
}

# by_tpm DEVICE, by_person DEVICE: open it.
by_tpm() {
    SYSTEMD_CRYPTSETUP_USE_TOKEN_MODULE=0 timeout 300 systemd-cryptsetup attach "$name" "$1" - \
        "luks,tpm2-device=auto,tpm2-signature=$signature,headless=1"
}

# A trial waits for nobody: it goes back. The console is open before anybody is asked, else what is typed at once is lost.
by_person() {
    [ "$(kept trial)" = false ] || return 1
    stty -echo <&3
    found=1
    for _ in 1 2 3; do
        asked "$1" && found=0 && break
        [ -s "$key" ] || break
        say "PERSIST: this is not its recovery key"
    done
    stty echo <&3
    return "$found"
}

asked() {
    wait=${PROA_WAIT:-120}
    say "PERSIST: type the recovery key of this node on this console, within $wait seconds (it is not shown)"
    (umask 077 && timeout "$wait" head -n 1 <&3 | tr -d ' \r\n' >"$key")
    [ -s "$key" ] && cryptsetup open --type luks2 --key-file "$key" "$1" "$name"
}

# seal DEVICE: enrols the TPM, by the key in $key, and tries it.
seal() {
    timeout 300 systemd-cryptenroll --unlock-key-file="$key" --tpm2-device=auto --tpm2-pcrs=7 --tpm2-public-key="$public" \
        --tpm2-public-key-pcrs=11 --tpm2-signature="$signature" "$1" || return
    rest || :
}

secure_boot() {
    for file in "${PROA_EFIVARS:-/sys/firmware/efi/efivars}"/SecureBoot-*; do
        [ "$(od -An -tu1 -j4 -N1 "$file" 2>/dev/null | tr -d ' ')" != 1 ] || return 0
    done
    return 1
}

open() {
    rm -f "$key"
    ! has_tpm || phase enter-initrd
    case $(content "$1") in
        whole)
            as_made "$1" || die "PERSIST on $1 has a header that this node has not made: it is not opened"
            if by_tpm "$1"; then rest || :; else unlock "$1"; fi
            ;;
        unfinished | bare) make "$1" ;;
        *) die "PERSIST on $1 is not encrypted, as this release demands, but holds files: empty it with proa-disk reset" ;;
    esac
}

# unlock DEVICE: where the TPM does not give the key. It is bound to the TPM that is there now, and what another one has
# sealed goes first: systemd-cryptenroll takes a policy that it finds enrolled for its own, whichever TPM has sealed it.
unlock() {
    say "PERSIST: the TPM of this machine does not give its key"
    rest
    by_person "$1" 3<>"$console" || die "PERSIST on $1 cannot be opened: the TPM does not give its key, and nobody has typed the recovery key"
    if has_tpm && systemd-cryptenroll --wipe-slot=tpm2 "$1" && seal "$1"; then
        say "PERSIST: bound to the TPM of this machine"
    else
        say "PERSIST: it could not be bound to a TPM; the next boot asks again"
    fi
    rm -f "$key"
}

make() {
    has_tpm || die "PERSIST is to be encrypted, but this machine has no TPM 2.0"
    secure_boot || say "PERSIST: SECURE BOOT IS OFF: encryption protects the disk alone, not the machine with the disk in it"
    say "PERSIST on $1 is encrypted; its key is bound to the TPM of this machine"
    (umask 077 && head -c 64 /dev/random >"$key")
    if ! put_mark "$1" || ! format "$1" || ! take_mark "$1" || ! seal "$1" || ! fill "$1"; then
        die "PERSIST on $1 could not be encrypted"
    fi
    # From here on it is in use.
    if ! systemd-cryptenroll --wipe-slot=password "$1" || ! cryptsetup config --label PERSIST "$1" || ! sync "$1"; then
        die "PERSIST on $1 could not be finished"
    fi
    rm -f "$key"
}

# format DEVICE: the key in $key is for the time of making alone, and random: no work is needed to protect it.
format() {
    cryptsetup luksFormat --batch-mode --type luks2 --label unfinished --cipher aes-xts-plain64 --key-size 512 \
        --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$key" "$1" && sync "$1"
}

# fill DEVICE: the file system, as proa.partition.disk.persist makes it, and the recovery key for whoever is root there.
fill() {
    cryptsetup open --type luks2 --key-file "$key" "$1" "$name" &&
        mke2fs -q -F -t ext4 -L PERSIST -m 1 -b 4096 -i 16384 -I 256 "/dev/mapper/$name" &&
        mkdir -p "$persist" && mount -t ext4 "/dev/mapper/$name" "$persist" &&
        mkdir -p "$persist/.proa" && : >"$persist/.proa/new" &&
        (umask 077 && recovery_key "$1" "$persist/.proa/recovery-key") && sync "$persist/.proa/recovery-key" && umount "$persist"
}

# recovery_key DEVICE FILE: a new one. What is said beside it, for a person at a terminal, is nothing for the log.
recovery_key() {
    said=$(systemd-cryptenroll --unlock-key-file="$key" --recovery-key "$1" 2>&1 >"$2")
    [ -s "$2" ] || { echo "$said" >&2 && return 1; }
}

# renew DEVICE: what was there can be read by nobody afterwards.
renew() {
    if ! cryptsetup close "$name" || ! cryptsetup config --label unfinished "$1" || ! sync "$1"; then
        die "PERSIST on $1 could not be made anew"
    fi
    make "$1"
}

leave() {
    phase leave-initrd
    rest
}

"$@"
