"""The one table of settings: what proa.toml may say, section by section.

Each section is a frozen dataclass, each of its fields one setting with its kind, its sentence and its default; they are
in the four modules beside this one. The checker, ``summary``, the reference page, the JSON schema and the template of
``init`` all read :data:`SECTIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proa.builder.config.build_settings import Build, Hook
from proa.builder.config.image_settings import (
    BootConfig,
    File,
    Kernel,
    ReleaseConfig,
    SourceConfig,
    SystemConfig,
    Units,
    User,
)
from proa.builder.config.node_allow import SettingsConfig
from proa.builder.config.node_settings import Check, ClusterConfig, DiskConfig, HealthConfig, Persist, TrustConfig
from proa.builder.config.setting import Section

SECTIONS: Final = (
    Section("release", ReleaseConfig),
    Section("system", SystemConfig),
    Section("source", SourceConfig, many=True),
    Section("file", File, many=True),
    Section("user", User, many=True),
    Section("units", Units),
    Section("kernel", Kernel),
    Section("boot", BootConfig),
    Section("disk", DiskConfig),
    Section("persist", Persist),
    Section("health", HealthConfig),
    Section("check", Check, many=True),
    Section("cluster", ClusterConfig),
    Section("settings", SettingsConfig),
    Section("trust", TrustConfig),
    Section("hook", Hook, many=True),
    Section("build", Build),
)
"""Every section, in the order of the reference page."""


@dataclass(frozen=True)
class Config:
    """A checked proa.toml. Fields are named as the sections; those that may stand several times are tuples."""

    release: ReleaseConfig
    system: SystemConfig = field(default_factory=SystemConfig)
    source: tuple[SourceConfig, ...] = ()
    file: tuple[File, ...] = ()
    user: tuple[User, ...] = ()
    units: Units = field(default_factory=Units)
    kernel: Kernel = field(default_factory=Kernel)
    boot: BootConfig = field(default_factory=BootConfig)
    disk: DiskConfig = field(default_factory=DiskConfig)
    persist: Persist = field(default_factory=Persist)
    health: HealthConfig = field(default_factory=HealthConfig)
    check: tuple[Check, ...] = ()
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    settings: SettingsConfig = field(default_factory=SettingsConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    hook: tuple[Hook, ...] = ()
    build: Build = field(default_factory=Build)
