"""What a source's meson.build files ask for and install, read as text: nothing of them runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hapkg.draft.autotools import Installed
from hapkg.draft.meson_language import Call, Follower, Thing, TooMuchError, Value, find_modules, format_string, join

_FOLDERS = {
    "prefix": "@",
    **{f"{name}dir": name for name in ("bin", "sbin", "lib", "libexec", "include")},
    **{f"{name}dir": f"share/{name}" for name in ("info", "locale", "man")},
    **{"datadir": "share", "sysconfdir": "etc", "localstatedir": "var"},
}
"""The options of every project that are folders; @ is the prefix."""
_PATH = re.compile(r"(?!\.)[\w.+~-]+(/(?!\.)[\w.+~-]+)*", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)
_COMPILERS = {"vala": "valac", "rust": "rustc", "fortran": "gfortran", "cython": "cython3"}
"""Programs of the languages that are not always there."""


@dataclass(kw_only=True)
class Meson:
    """What the meson.build files say; nothing where there are none."""

    name: str = ""
    version: str = ""
    license: str = ""
    at_least: str = ""
    """The version of meson that they take."""
    summaries: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    """Descriptions and addresses of pkg-config files."""
    words: dict[str, bool] = field(default_factory=dict)
    """What the build asks for, as find_words() of automake gives it."""
    required: dict[str, bool] = field(default_factory=dict)
    """The pkg-config files that those of upstream itself require."""
    subprojects: set[str] = field(default_factory=set)
    both: bool = False
    """Whether libraries become static as well, unless meson is told."""
    installed: Installed = field(default_factory=Installed)


def read_meson(files: Mapping[str, str]) -> Meson:
    """Follow the meson.build at the top and those that it names."""
    reader = _Reader(files)
    if "meson.build" in files:
        reader.read()
    return reader.found


class _Reader:
    """Keeps what the calls ask for and install."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.found = Meson()
        self._files = files
        self._options: dict[str, Value] = dict(_FOLDERS)
        self._folder = ""
        self._entered = {""}
        self._certain: set[str] = set()
        self._lost: dict[str, None] = {}
        self._scripts: dict[str, None] = {}
        self._follower = Follower(self._call)
        self._meanings: Mapping[str, Callable[[Call], Value]] = {
            "project": self._project,
            "option": self._option,
            "get_option": lambda call: self._options.get("".join(call.strings()[:1])),
            "subdir": self._subdir,
            "files": lambda call: list(call.words),
            "join_paths": lambda call: join(*call.words),
            ".format": lambda call: (
                format_string(call.owner, {str(number): word for number, word in enumerate(call.words)})
                if isinstance(call.owner, str)
                else None
            ),
            ".project_name": lambda call: self.found.name or None,
            ".project_version": lambda call: self.found.version or None,
            ".is_subproject": lambda call: False,
            "import": lambda call: Thing(name="".join(call.strings()[:1])),
            ".system": lambda call: "linux",
            "dependency": self._dependency,
            "declare_dependency": lambda call: Thing(modules=find_modules([*call.named.values()])),
            "subproject": self._subproject,
            "find_program": self._find_program,
            ".find_library": self._find_library,
            ".has_header": self._has_header,
            ".check_header": self._has_header,
            ".find_installation": self._find_python,
            **dict.fromkeys(("executable", "jar"), self._executable),
            **dict.fromkeys(("library", "shared_library", "shared_module", "both_libraries"), self._library),
            "static_library": self._static_library,
            "install_headers": self._install_headers,
            "install_man": self._install_man,
            "install_data": self._install_data,
            "install_subdir": self._install_subdir,
            "install_symlink": lambda call: self._enter(
                call, call.named.get("install_dir"), "".join(call.strings()[:1])
            ),
            "install_emptydir": lambda call: self._enter(call, (*call.words, None)[0]),
            "configure_file": self._make_file,
            "custom_target": self._make_file,
            ".merge_file": self._make_file,
            ".gettext": lambda call: self._enter(call, "share/locale") if self._installs(call, True) else None,
            ".generate": self._generate,
            **dict.fromkeys((".install_sources", ".extension_module"), self._lose),
            ".add_install_script": self._note_script,
        }

    def read(self) -> None:
        """Follow all there is."""
        found = self.found
        try:
            for path in ("meson_options.txt", "meson.options", "meson.build"):
                self._follower.follow(self._files.get(path, ""))
        except TooMuchError:
            self._lost["what stands at the end of meson.build"] = None
        inside = (re.match(r"subprojects/(?:([^/]+)\.wrap$|([^/]+)/)", path) for path in self._files)
        found.subprojects |= {match[1] or match[2] for match in inside if match}
        own = found.installed.places.get("lib/pkgconfig", set())
        found.required = {word: False for word in found.required if word not in own}
        told = {
            "not known where these go": self._lost,
            "these scripts may install more": self._scripts,
            "only under a condition of meson.build": sorted(found.installed.places.keys() - self._certain),
        }
        found.installed.remarks.extend(f"{remark}: {', '.join(what)}" for remark, what in told.items() if what)

    def _call(self, call: Call) -> Value:
        meaning = self._meanings.get(call.name)
        return meaning(call) if meaning else None

    def _installs(self, call: Call, default: bool = False) -> bool:
        """Whether a target is installed, or may be."""
        return call.named.get("install", default) is not False and call.named.get("install_dir", "") is not False

    def _enter(self, call: Call, place: Value = None, name: str = "") -> None:
        """Enter one file, or something in a folder that has no name here."""
        name = name if _PATH.fullmatch(name) and "/" not in name else ""
        path = re.sub(r"//+", "/", place).removeprefix("@/").rstrip("/") if isinstance(place, str) else ""
        if not _PATH.fullmatch(path):
            told = name or next((word for word in call.strings() if _PATH.fullmatch(word)), call.name.removeprefix("."))
            self._lost[told] = None
            return
        self.found.installed.places.setdefault(path, set()).add(name)
        if not self._follower.doubts and call.named.get("install", True) is True:
            self._certain.add(path)

    def _lose(self, call: Call) -> Value:
        if call.name == ".install_sources" or self._installs(call):
            self._enter(call)
        return None

    def _note_script(self, call: Call) -> Value:
        self._scripts["".join(call.strings()[:1]).rpartition("/")[2] or "add_install_script"] = None
        return None

    # The project and what it asks for

    def _project(self, call: Call) -> Value:
        found, (name, *languages) = self.found, call.strings() or [""]
        version = call.strings("version")[:1]
        if version == self._find_file_names(call, "version"):
            version = [self._files.get(path, "").strip() for path in version]
        licenses = [text for text in call.strings("license") if text]
        least = re.fullmatch(r">=?\s*([0-9][0-9.]*)", call.get("meson_version").strip())
        defaults = call.strings("default_options")
        found.name, found.version, found.license = name, "".join(version), " AND ".join(licenses)
        found.at_least = least[1] if least else ""
        found.both = "default_library=both" in defaults
        found.words.update({_COMPILERS[word]: True for word in languages if word in _COMPILERS})
        return None

    def _find_file_names(self, call: Call, name: str) -> list[str]:
        """The files that files() named."""
        value = call.named.get(name)
        return [word for word in call.strings(name) if word in self._files] if isinstance(value, list) else []

    def _option(self, call: Call) -> Value:
        name, value = "".join(call.strings()[:1]), call.named.get("value")
        plain = call.get("type") in ("string", "boolean", "combo") and (value or value is False)
        self._options.setdefault(name, value if plain else None)
        return None

    def _subdir(self, call: Call) -> Value:
        above, name = self._folder, "".join(call.strings()[:1])
        folder = f"{above}/{name}" if above else name
        if folder not in self._entered:
            self._entered.add(folder)
            self._folder = folder
            self._follower.follow(self._files.get(f"{folder}/meson.build", ""))
            self._folder = above
        return None

    def _dependency(self, call: Call) -> Value:
        name = "".join(call.strings()[:1])
        self.found.subprojects.update(filter(_PATH.fullmatch, call.strings("fallback")[:1]))
        if not _WORD.fullmatch(name):
            return Thing()
        self.found.words[f"{name}.pc"] = True
        return Thing(modules=(f"{name}.pc",))

    def _subproject(self, call: Call) -> Value:
        self.found.subprojects.update(filter(_PATH.fullmatch, call.strings()[:1]))
        return None

    def _find_program(self, call: Call) -> Value:
        self.found.words.update({word: False for word in call.strings() if _WORD.fullmatch(word)})
        return None

    def _find_library(self, call: Call) -> Value:
        names = [word for word in call.strings()[:1] if _WORD.fullmatch(word)]
        self.found.words.update({f"-l{name}": True for name in names})
        return Thing()

    def _has_header(self, call: Call) -> Value:
        self.found.words.update(dict.fromkeys(filter(None, call.strings()[:1]), False))
        return None

    def _find_python(self, call: Call) -> Value:
        self.found.words["python3"] = False
        return None

    # What it installs

    def _executable(self, call: Call) -> Value:
        name = "".join(call.strings()[:1])
        if self._installs(call):
            self._enter(call, call.named.get("install_dir", "bin"), name)
            self.found.installed.compiled.append(name)
        return Thing(name=name)

    def _library(self, call: Call) -> Value:
        name, place = "".join(call.strings()[:1]), call.named.get("install_dir", "lib")
        file = f"{call.get('name_prefix') if 'name_prefix' in call.named else 'lib'}{name}"
        if self._installs(call):
            installed = self.found.installed
            installed.compiled.append(name)
            self._enter(call, place)
            if place in ("lib", "@/lib") and _PATH.fullmatch(file) and "/" not in file:
                installed.libraries[file] = bool({"version", "soversion"} & call.named.keys())
            self.found.both |= call.name == "both_libraries"
        return Thing(name=name, modules=find_modules(call.named.get("dependencies")))

    def _static_library(self, call: Call) -> Value:
        name = "".join(call.strings()[:1])
        if self._installs(call):
            self._enter(call, call.named.get("install_dir", "lib"), f"lib{name}.a")
            self.found.installed.compiled.append(name)
        return Thing(name=name, modules=find_modules(call.named.get("dependencies")))

    def _install_headers(self, call: Call) -> Value:
        place = call.named.get("install_dir", join("include", call.named.get("subdir", "")))
        for file in call.strings():
            below, _, name = file.rpartition("/")
            self._enter(call, join(place, below) if call.named.get("preserve_path") is True else place, name)
        return None

    def _install_man(self, call: Call) -> Value:
        locale = call.get("locale")
        for file in call.strings():
            section = re.search(r"\.(\d)\w*$", file)
            place = join("share/man", locale, f"man{section[1]}") if section else None
            name = file.rpartition("/")[2]
            self._enter(
                call, call.named.get("install_dir", place), name.replace(f".{locale}.", ".") if locale else name
            )
        return None

    def _install_data(self, call: Call) -> Value:
        names = call.strings("rename") or [
            file.rpartition("/")[2] for file in [*call.strings(), *call.strings("sources")]
        ]
        for name in names:
            below, _, base = name.rpartition("/")
            self._enter(call, join(call.named.get("install_dir", join("share", self.found.name)), below), base)
        return None

    def _install_subdir(self, call: Call) -> Value:
        name = "" if call.named.get("strip_directory") is True else "".join(call.strings()[:1]).rpartition("/")[2]
        self._enter(call, join(call.named.get("install_dir"), name))
        return None

    def _make_file(self, call: Call) -> Value:
        """A file that the build makes, or some."""
        sources = [*call.strings("input"), ""]
        plain = sources[0].rpartition("/")[2]
        values = {"PLAINNAME": plain, "BASENAME": plain.rpartition(".")[0]} if len(sources) == 2 and plain else {}
        names = [format_string(name, values) or "" for name in call.strings("output")]
        places = call.named.get("install_dir")
        if self._installs(call, call.name == "configure_file" and bool(places)):
            each = places if isinstance(places, list) else [places]
            for number, name in enumerate(names):
                place = each[min(number, len(each) - 1)] if each else None
                if place is not False:
                    self._enter(call, place, name)
        return [Thing(name=name) for name in names]

    def _generate(self, call: Call) -> Value:
        """A pkg-config file, if it is one."""
        if not (isinstance(call.owner, Thing) and call.owner.name == "pkgconfig"):
            return None
        found, name = self.found, call.get("filebase") or call.get("name") or "".join(call.strings()[:1])
        place = "share/pkgconfig" if call.named.get("dataonly") is True else "lib/pkgconfig"
        self._enter(call, call.named.get("install_dir", place), f"{name}.pc" if name else "")
        found.summaries += filter(None, [call.get("description")])
        found.pages += filter(None, [call.get("url")])
        asked = [call.named.get(key) for key in ("libraries", "libraries_private", "requires", "requires_private")]
        words = [*call.strings("requires"), *call.strings("requires_private")]
        modules = [f"{word.split()[0]}.pc" for word in words if _WORD.match(word)]
        found.required.update(dict.fromkeys([*find_modules([*call.words, *asked]), *modules], False))
        return None
