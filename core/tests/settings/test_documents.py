"""Settings documents as people, clusters and attackers write them."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proa.core.runtime.errors import Code, ProaError
from proa.core.settings import allow_list, checking
from proa.core.settings.allow_list import AllowList
from proa.core.settings.disruption import Disruption
from proa.core.settings.document import EMPTY, Document, of_mapping, parse
from proa.core.settings.model import Model
from proa.core.settings.models import sysctl
from proa.core.settings.registry import MODELS, disruption, render

PATHS = ("/etc/motd", "/etc/issue", "/etc/example/app.conf", "/etc/example")
OPEN = {"files": PATHS, "registries": ("docker.io", "docker.io/resolve", "registry.example:5000")}
"""Keys of models that have no table of them."""
EVERYTHING = AllowList(
    {name: dict.fromkeys((*model.keys, *OPEN.get(name, ())), allow_list.ANY) for name, model in MODELS.items()}
)


def refused(model: str, part: dict[str, Any], allow: AllowList = EVERYTHING) -> list[str]:
    return [one.text for one in checking.check(Document({model: part}), allow)]


def test_json_and_toml_say_the_same() -> None:
    toml = parse('revision = 3\n[sysctl]\n"vm.swappiness" = 10\n"net.ipv4.tcp_rmem" = [4096, 8192, 16384]\n')
    other = parse(b' {"sysctl": {"net.ipv4.tcp_rmem": [4096, 8192, 16384], "vm.swappiness": 10}, "revision": 3}')
    assert toml.canonical() == other.canonical()
    assert toml.digest == other.digest
    assert parse(toml.canonical()) == other
    assert toml.revision == 3
    assert EMPTY.canonical() == "{}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[sysctl]\na = 1.5",
        "[sysctl]\na = 0x" + "f" * 5000,
        "[sysctl]\na = 9223372036854775808",
        '{"a": {"b": -9223372036854775808}}',
        "[sysctl]\na = 2026-01-01",
        "sysctl = 3",
        "revision = -1",
        "revision = true",
        "revision = 9007199254740993",
        '{"a": {"b": NaN}}',
        '{"a": {"b": 1}, "a": {"b": 2}}',
        '{"a": {"b": null}}',
        "[]",
        '{"a": ' + '{"b": ' * 6 + "1" + "}" * 7,
        "{" * 100000,
        "[" * 5000,
        "\x00",
        '[a]\nb = "' + "x" * 70000 + '"',
        '[a]\nb = "' + "x" * 17000 + '"',
    ],
)
def test_what_is_no_document_is_refused(text: str) -> None:
    if text == "":
        assert parse(text) == EMPTY
        return
    with pytest.raises(ProaError) as caught:
        parse(text, at="file")
    assert (caught.value.code, caught.value.at) == (Code.SETTINGS_INVALID, "file")


@pytest.mark.parametrize(
    ("model", "key", "value", "words"),
    [
        ("kubelet", "STATICPODPATH", "/srv", "can never be set: it would let the cluster run code"),
        ("kubelet", "staticPodURL", "http://x", "can never be set"),
        ("kubelet", "featureGates", {"A": True}, "can never be set"),
        ("kubelet", "tlsCertFile", "/x", "can never be set"),
        ("kubelet", "maxPodz", 5, "did you mean kubelet.maxPods?"),
        ("kubelet", "MAXPODS", 5, "did you mean kubelet.maxPods?"),
        ("kubelet", "maxPods", 1000000, "allowed: 1 to 1000"),
        ("kubelet", "maxPods", True, "True is not allowed"),
        ("kubelet", "maxPods", "110", "'110' is not allowed"),
        ("kubelet", "evictionHard", {"memory.available": "banana"}, "pid.available: a quantity"),
        ("kubelet", "evictionHard", {"memory.availabel": "5%"}, "memory.available"),
        ("kubelet", "evictionHard", {}, "is not allowed"),
        ("kubelet", "clusterDNS", ["notanip"], "an IP address"),
        ("kubelet", "clusterDNS", ["10.0.0.10", "10.0.0.10"], "an IP address"),
        ("kubelet", "seccompDefault", False, "allowed: true"),
        ("kubelet", "imageMinimumGCAge", "2 minutes", "a duration such as"),
        ("kubelet", "imageMinimumGCAge", "", "a duration such as"),
        ("sysctl", "kernel.core_pattern", "|/bin/sh", "can never be set: it makes the kernel run a program"),
        ("sysctl", "kernel.panic", 0, "can never be set"),
        ("sysctl", "net.ipv4.ip_forward", 0, "can never be set"),
        ("sysctl", "net.ipv4.conf.eth0.forwarding", 0, "can never be set"),
        ("sysctl", "kernel.yama.ptrace_scope", 3, "only a reboot undoes it"),
        ("sysctl", "vm.overcommit_memory", 2, "can never be set"),
        ("sysctl", "vm.swapiness", 10, "did you mean sysctl.vm.swappiness?"),
        ("sysctl", "vm/swappiness", 10, "did you mean sysctl.vm.swappiness?"),
        ("sysctl", "vm.swappiness", 201, "allowed: 0 to 200"),
        ("sysctl", "vm.swappiness", "10\nkernel.modprobe = /x", "is not allowed"),
        ("sysctl", "net.ipv4.tcp_rmem", 4096, "a list of 3 numbers"),
        ("sysctl", "net.ipv4.tcp_rmem", [4096, 1, 5000], "a list of 3 numbers"),
        ("files", "/etc/systemd/system/x.service", "x", "can never be set"),
        ("files", "/etc/sudoers.d/x", "x", "can never be set"),
        ("files", "/etc/cron.daily/x", "x", "can never be set"),
        ("files", "/etc/PAM.d/x", "x", "can never be set"),
        ("files", "/etc/pam.conf", "x", "can never be set"),
        ("files", "/etc/proa/trust.json", "x", "can never be set"),
        ("files", "/etc/../usr/share/x", "x", "no such key"),
        ("files", "/usr/lib/x", "x", "no such key"),
        ("files", "etc/motd", "x", "no such key"),
        ("files", "/etc/example/other", "x", "the release does not allow it"),
        ("files", "/etc/motd", "a\x1b[2J", "without control characters"),
        ("files", "/etc/motd", "-----BEGIN PRIVATE KEY-----", "looks like a key, token or password"),
        ("proxy", "http", "http://user:secret@proxy:3128", "looks like a key, token or password"),
        ("proxy", "http", "http://proxy:3128\nLD_PRELOAD=/x", "http://HOST:PORT"),
        ("proxy", "https", "socks5://proxy:1", "http://HOST:PORT"),
        ("time", "servers", ["a b"], "a host name"),
        ("dns", "servers", ["dns.example"], "an IP address"),
        ("limits", "nofile", 10, "1024 to 1048576"),
        ("kubelets", "maxPods", 1, "did you mean kubelet?"),
        ("kubelet", "evictionHard", {"memory.available": "0%"}, "is not allowed"),
        ("kubelet", "evictionHard", {"nodefs.available": "999T"}, "at most 1Ti"),
        ("kubelet", "systemReserved", {"cpu": "1Gi"}, "cpu: processors"),
        ("kubelet", "systemReserved", {"memory": "200m"}, "memory, ephemeral-storage: a quantity"),
        ("kubelet", "kubeReserved", {"memory": "200"}, "at least 1048576"),
        ("kubelet", "reservedSystemCPUs", "3-1", "processors such as"),
        ("kubelet", "reservedSystemCPUs", "1,1", "processors such as"),
        ("kubelet", "reservedSystemCPUs", "", "processors such as"),
        ("kubelet", "clusterDomain", "a..b", "a domain name"),
        ("kubelet", "clusterDomain", "-a.local", "a domain name"),
        ("kubelet", "clusterDomain", f"{'a' * 64}.local", "a domain name"),
        ("kubelet", "clusterDNS", ["0::"], "of another machine"),
        ("kubelet", "clusterDNS", ["::1"], "of another machine"),
        ("dns", "servers", ["224.0.0.1"], "an IP address"),
        ("sysctl", "net.ipv4.ip_local_port_range", [40000, 40000], "at least 1000 above"),
        ("time", "servers", [":::::"], "a host name or address"),
        ("time", "servers", ["10.0.0.999"], "a host name or address"),
        ("time", "servers", ["a..b"], "a host name or address"),
        ("proxy", "http", "http://proxy:99999", "http://HOST:PORT"),
        ("proxy", "http", "http://10.0.0.300:3128", "http://HOST:PORT"),
        ("proxy", "http", "http://[proxy]:3128", "http://HOST:PORT"),
        *(
            ("files", "/etc/motd", text, "looks like a key, token or password")
            for text in (
                "Authorization: Bearer abcdefgh12345678",
                "password=hunter2",
                "API_KEY: abc",
                "abcdef.0123456789abcdef",
                "xoxb-123456789012-abc",
                "a github_pat_11AAAA of mine",
            )
        ),
    ],
)
def test_what_may_not_be_set_is_refused_with_what_is_allowed(model: str, key: str, value: Any, words: str) -> None:
    (said,) = refused(model, {key: value})
    assert words in said
    assert "secret@" not in said


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = checking.check(
        Document({"sysctl": {"vm.swappiness": 999, "vm.x": 1}, "nothing": {}, "kubelet": {"maxPods": 0}}), EVERYTHING
    )
    assert [one.key for one in found] == ["sysctl.vm.swappiness", "sysctl.vm.x", "nothing", "kubelet.maxPods"]
    with pytest.raises(ProaError) as caught:
        checking.require(Document({"sysctl": {"vm.swappiness": 999, "vm.x": 1}}), EVERYTHING)
    assert caught.value.code is Code.SETTINGS_REFUSED
    assert "vm.swappiness" in caught.value.message
    assert "vm.x" in caught.value.message


@pytest.mark.parametrize(
    ("model", "part", "words"),
    [
        ("sysctl", {"vm.dirty_bytes": 1 << 26, "vm.dirty_ratio": 10}, "reset each other"),
        ("kubelet", {"imageGCHighThresholdPercent": 70, "imageGCLowThresholdPercent": 80}, "not below"),
        ("kubelet", {"imageGCLowThresholdPercent": 90}, "not below"),
        ("kubelet", {"evictionSoft": {"memory.available": "5%"}}, "each soft threshold needs one"),
        ("kubelet", {"maxParallelImagePulls": 4}, "serializeImagePulls"),
        ("kubelet", {"shutdownGracePeriodCriticalPods": "40s", "shutdownGracePeriod": "30s"}, "is more than"),
        ("kubelet", {"imageMinimumGCAge": "2h", "imageMaximumGCAge": "1h"}, "is more than"),
        ("kubelet", {"nodeStatusUpdateFrequency": "1m", "nodeStatusReportFrequency": "10s"}, "is more than"),
        (
            "sysctl",
            {"net.ipv4.neigh.default.gc_thresh1": 4096, "net.ipv4.neigh.default.gc_thresh2": 1024},
            "is not below",
        ),
        ("sysctl", {"vm.dirty_background_ratio": 20, "vm.dirty_ratio": 20}, "is not below"),
        ("sysctl", {"net.core.rmem_default": 8192, "net.core.rmem_max": 4096}, "is not below"),
        ("files", {"/etc/example": "x", "/etc/example/app.conf": "x"}, "not a folder"),
    ],
)
def test_keys_that_contradict_one_another_are_refused(model: str, part: dict[str, Any], words: str) -> None:
    (said,) = refused(model, part)
    assert words in said


def test_what_is_wrong_by_itself_is_not_compared_with_others() -> None:
    found = refused("kubelet", {"evictionSoft": {"x\x1b[2J": "5%"}, "imageGCLowThresholdPercent": "90"})
    assert len(found) == 2
    assert "\x1b" not in "".join(found)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/cloud/cloud.cfg.d/99.cfg",
        "/etc/NetworkManager/dispatcher.d/up",
        "/etc/request-key.conf",
        "/etc/request-key.d/x.conf",
        "/etc/dhcp/dhclient-exit-hooks.d/x",
        "/etc/dhcpcd.exit-hook",
        "/etc/ppp/ip-up.d/x",
        "/etc/libvirt/hooks/qemu",
        "/etc/acpi/events/x",
        "/etc/keepalived/keepalived.conf",
        "/etc/snmp/snmpd.conf",
        "/etc/smartd.conf",
        "/etc/needrestart/conf.d/x",
        "/etc/ld-musl-x86_64.path",
        "/etc/ld.so.preload",
        "/etc/crio/crio.conf",
        "/etc/containers/policy.json",
        "/etc/nvidia-container-runtime/config.toml",
        "/etc/rancher/k3s/config.yaml",
        "/etc/doas.conf",
        "/etc/apparmor.d/local/x",
        "/etc/selinux/config",
        "/etc/krb5.conf",
        "/etc/krb5.conf.d/x",
        "/etc/sssd/sssd.conf",
        "/etc/veritytab",
        "/etc/integritytab",
        "/etc/lvm/lvm.conf",
        "/etc/multipath.conf",
        "/etc/multipath/conf.d/x.conf",
        "/etc/example/plugins/x",
        "/etc/example/hooks.d/x",
        "/etc/example/run.sh",
        "/etc/example/x.service",
        "/etc/example/private/x",
        "/etc/example/tls.key",
        "/etc/sudo.conf",
        "/etc/exports.d/x",
    ],
)
def test_programs_run_code_by_these_files_whoever_signs_them(path: str) -> None:
    (said,) = refused("files", {path: "x"}, AllowList({"files": {path: allow_list.ANY}}))
    assert "can never be set" in said
    with pytest.raises(ProaError):
        allow_list.of_entries({"files": [path]})


@pytest.mark.parametrize(
    "path", ["/etc/motd", "/etc/issue", "/etc/hosts", "/etc/example.conf", "/etc/app/conf.d/a.ini"]
)
def test_other_text_files_may_be_signed(path: str) -> None:
    allow = allow_list.of_entries({"files": [path]})
    assert refused("files", {path: "Ask for the password at the desk.\n"}, allow) == []


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("kubelet", {"systemReserved": {"cpu": "500m", "memory": "1Gi", "pid": "1000", "ephemeral-storage": "2Gi"}}),
        ("kubelet", {"kubeReserved": {"cpu": "1.5"}}),
        ("kubelet", {"reservedSystemCPUs": "0-1,4,7-8"}),
        ("kubelet", {"clusterDNS": ["169.254.20.10", "fd00::10"], "clusterDomain": "cluster.local"}),
        ("kubelet", {"evictionHard": {"memory.available": "5%", "nodefs.inodesFree": "1000", "pid.available": "10%"}}),
        ("time", {"servers": ["0.debian.pool.ntp.org", "192.0.2.1", "2001:db8::1"]}),
        ("proxy", {"http": "http://proxy.example:3128", "https": "http://[2001:db8::1]:3128/", "none": [".svc"]}),
        ("sysctl", {"net.ipv4.ip_local_port_range": [10240, 65535], "vm.dirty_bytes": 1 << 28}),
    ],
)
def test_what_people_set_is_accepted(model: str, part: dict[str, Any]) -> None:
    assert refused(model, part) == []


def test_nothing_may_be_set_where_the_release_lists_nothing() -> None:
    assert refused("sysctl", {"vm.swappiness": 10}, allow_list.NOTHING) == [
        "sysctl.vm.swappiness: the release does not allow it"
    ]


def test_a_release_narrows_what_a_model_allows() -> None:
    allow = allow_list.of_entries({"sysctl": ["vm.swappiness=0..60", "vm.max_map_count=..100000"], "files": []})
    assert refused("sysctl", {"vm.swappiness": 61}, allow) == [
        "sysctl.vm.swappiness: 61 is not allowed; allowed: 0 to 60"
    ]
    assert refused("sysctl", {"vm.max_map_count": 65530}, allow) == []
    assert allow_list.of_json(allow.to_json().encode()) == allow


@pytest.mark.parametrize(
    ("model", "entry", "words"),
    [
        ("sysctl", "kernel.core_pattern", "can never be set"),
        ("sysctl", "vm.swapiness", "did you mean 'vm.swappiness'?"),
        ("sysctl", "vm.swappiness=1", "KEY=LOW..HIGH"),
        ("sysctl", "vm.swappiness=300..400", "leaves no value"),
        ("sysctl", "vm.swappiness=60..0", "leaves no value"),
        ("sysctl", "vm.swappiness=٣..9", "KEY=LOW..HIGH"),
        ("kubelet", "evictionHard=1..2", "for whole numbers only"),
        ("files", "/etc/passwd", "can never be set"),
        ("files", "/etc/passwd-", "can never be set"),
        ("files", "motd", "has no key"),
    ],
)
def test_a_release_cannot_allow_what_can_never_be_set(model: str, entry: str, words: str) -> None:
    with pytest.raises(ProaError) as caught:
        allow_list.of_entries({model: [entry]})
    assert words in caught.value.message


@pytest.mark.parametrize("data", [b"", b"{}", b'{"schema": "proa.settings-allowed/v2", "models": {}}', b"[]"])
def test_a_list_that_cannot_be_read_allows_nothing(data: bytes) -> None:
    with pytest.raises(ProaError) as caught:
        allow_list.of_json(data)
    assert caught.value.code is Code.SETTINGS_REFUSED


@pytest.mark.parametrize(
    "limits", ['"60"', "[]", "null", "60", '{"max": "60"}', '{"max": true}', '{"maximum": 60}', '{"max": 60.5}']
)
def test_limits_that_are_not_understood_leave_nothing_allowed(limits: str) -> None:
    text = f'{{"schema": "proa.settings-allowed/v1", "models": {{"sysctl": {{"vm.swappiness": {limits}}}}}}}'
    assert allow_list.of_json(text.encode()).allows("sysctl", "vm.swappiness") is None


def test_an_unknown_model_or_key_of_a_later_release_is_not_allowed() -> None:
    text = '{"schema": "proa.settings-allowed/v1", "models": {"later": {"a": {}}, "sysctl": {"kernel.modprobe": {}}}}'
    allow = allow_list.of_json(text.encode())
    assert allow.allows("later", "a") is None
    assert allow.allows("sysctl", "kernel.modprobe") is None


def test_what_a_change_disturbs_is_the_most_that_one_of_its_keys_does() -> None:
    before = Document({"sysctl": {"vm.swappiness": 1}, "kubelet": {"maxPods": 100, "clusterDomain": "a.local"}})
    for models, most in (
        (before.models, Disruption.NONE),
        ({**before.models, "sysctl": {}}, Disruption.NONE),
        ({**before.models, "kubelet": {"maxPods": 101, "clusterDomain": "a.local"}}, Disruption.RESTART),
        ({**before.models, "kubelet": {}}, Disruption.DRAIN),
    ):
        assert disruption(before, Document(models)) is most
        assert disruption(Document(models), before) is most


def values(model: Model, key: str) -> st.SearchStrategy[Any]:
    """Values near those that a key accepts."""
    found = model.key(key)
    assert found is not None
    limits = [getattr(found.kind, name) for name in ("low", "high") if hasattr(found.kind, name)]
    numbers = st.sampled_from([*limits, 0, 1, -1]) | st.integers(-10, 1 << 20)
    words = st.sampled_from(
        ["5%", "100Mi", "1h", "30s", "none", "10.0.0.1", "a.example", "http://proxy:3128", "https://mirror.example"]
    ) | st.text(max_size=12)
    signals = st.dictionaries(st.sampled_from(["memory.available", "cpu", "memory"]), words, max_size=3)
    return numbers | words | st.lists(numbers, max_size=3) | st.lists(words, max_size=3) | signals | st.booleans()


@st.composite
def documents(draw: st.DrawFn) -> Document:
    models = {}
    for name, model in MODELS.items():
        keys = draw(st.lists(st.sampled_from(sorted(model.keys) or OPEN[name]), unique=True, max_size=4))
        models[name] = {key: draw(values(model, key)) for key in keys}
    return Document(models)


@given(documents())
def test_what_is_accepted_is_rendered_as_it_was_meant_and_nothing_else(document: Document) -> None:
    accepted = {
        name: {key: one for key, one in part.items() if not refused(name, {key: one})}
        for name, part in document.models.items()
    }
    accepted = {name: part for name, part in accepted.items() if part and not refused(name, part)}
    files = render(of_mapping(json.loads(Document(accepted).canonical())))
    assert json.loads(files["document.json"]) == json.loads(Document(accepted).canonical())
    if "sysctl" in accepted:
        lines = files[sysctl.FILE].splitlines()
        assert [line.split(" = ")[0] for line in lines] == sorted(accepted["sysctl"])
        assert all(line.split(" = ")[1].replace(" ", "").isdigit() for line in lines)
    if "kubelet" in accepted:
        made = json.loads(files["kubelet/50-proa.conf"])
        assert {key: made[key] for key in made if key not in ("apiVersion", "kind")} == accepted["kubelet"]
    for path, content in files.items():
        if path.split("/")[0] not in ("files", "document.json"):
            assert "\x00" not in content
            assert all(one.isprintable() or one == "\n" for one in content)


@given(documents())
def test_schemas_agree_with_the_checks(document: Document) -> None:
    from jsonschema import Draft202012Validator

    for name, part in document.models.items():
        for key, value in part.items():
            found = MODELS[name].key(key)
            assert found is not None
            if found.kind.fits(value):
                Draft202012Validator(found.kind.schema()).validate(value)


def test_a_canonical_document_is_toml_too_where_it_is_written_so() -> None:
    text = '[kubelet]\nmaxPods = 200\n[kubelet.evictionHard]\n"memory.available" = "5%"\n'
    assert dict(parse(text).models) == tomllib.loads(text)


MIRRORS = allow_list.of_entries(
    {"registries": ["docker.io=mirror.example,other.example:5000", "docker.io/resolve=mirror.example"]}
)


def test_mirrors_are_rendered_as_containerd_reads_them() -> None:
    part = {
        "docker.io": ["https://other.example:5000", "https://mirror.example"],
        "docker.io/resolve": ["https://mirror.example"],
    }
    document = Document({"registries": part})
    assert checking.check(document, MIRRORS) == ()
    found = tomllib.loads(render(document)["registries/docker.io/hosts.toml"])
    assert found == {
        "host": {
            "https://mirror.example": {"capabilities": ["pull", "resolve"]},
            "https://other.example:5000": {"capabilities": ["pull"]},
        }
    }
    assert list(found["host"]) == ["https://mirror.example", "https://other.example:5000"]
    assert MODELS["registries"].placed(part) == {
        "registries/docker.io/hosts.toml": "/etc/containerd/certs.d/docker.io/hosts.toml"
    }
    assert disruption(EMPTY, document) is Disruption.NONE
    assert allow_list.of_json(MIRRORS.to_json().encode()) == MIRRORS


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("docker.io", ["https://evil.example"], "each https://mirror.example or https://other.example:5000"),
        ("docker.io/resolve", ["https://other.example:5000"], "each https://mirror.example"),
        ("docker.io", ["http://mirror.example"], "https://mirror.example"),
        ("docker.io", ["https://mirror.example/v2"], "https://mirror.example"),
        ("docker.io", ["https://user:password@mirror.example"], "looks like a key, token or password"),
        ("docker.io", "https://mirror.example", "a list of at most 4"),
        ("docker.io", [], "a list of at most 4"),
        ("quay.io", ["https://mirror.example"], "the release does not allow it"),
        ("../../etc", ["https://mirror.example"], "no such key"),
        ("docker.io/resolve/resolve", ["https://mirror.example"], "no such key"),
        ("docker.io:99999", ["https://mirror.example"], "no such key"),
        ("_default", ["https://mirror.example"], "no such key"),
    ],
)
def test_only_mirrors_whose_hosts_are_signed_may_be_set(key: str, value: Any, words: str) -> None:
    (said,) = refused("registries", {key: value}, MIRRORS)
    assert words in said


@pytest.mark.parametrize(
    "entry", ["docker.io", "docker.io=", "docker.io=https://x", "docker.io=a..b", "docker.io=1..5"]
)
def test_a_release_names_the_hosts_of_mirrors(entry: str) -> None:
    with pytest.raises(ProaError) as caught:
        allow_list.of_entries({"registries": [entry]})
    assert "name the hosts that may be mirrors" in caught.value.message


@pytest.mark.parametrize("limits", ["{}", '{"hosts": "x"}', '{"hosts": [1]}', '{"hosts": []}', '{"hosts": ["a/b"]}'])
def test_hosts_that_are_not_understood_leave_no_mirror_allowed(limits: str) -> None:
    text = f'{{"schema": "proa.settings-allowed/v1", "models": {{"registries": {{"docker.io": {limits}}}}}}}'
    assert allow_list.of_json(text.encode()).allows("registries", "docker.io") is None
