"""Build dependencies and installed files by configure.ac and Makefile.am, read as text: nothing of them runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_FOLDERS = {
    "prefix": "@",
    "exec_prefix": "@",
    **{f"{name}dir": f"@/{name}" for name in ("bin", "sbin", "lib", "libexec", "include")},
    **{f"{name}dir": f"@/share/{name}" for name in ("aclocal", "info", "locale", "man")},
    **dict.fromkeys(("datadir", "datarootdir"), "@/share"),
    **dict.fromkeys(("docdir", "htmldir", "pdfdir"), "@/share/doc/@PACKAGE@"),
    **{f"pkg{name}dir": f"@/{name}/@PACKAGE@" for name in ("lib", "libexec", "include")},
    "pkgdatadir": "@/share/@PACKAGE@",
    "pkgconfigdir": "@/lib/pkgconfig",
    "sysconfdir": "@/etc",
    "localstatedir": "@/var",
}
"""Automake's folders; @ is the prefix."""
_PRIMARY = re.compile(
    r"(?:(?:dist|nodist|nobase|notrans)_)*(\w+?)"
    r"_(PROGRAMS|LTLIBRARIES|LIBRARIES|HEADERS|SCRIPTS|DATA|MANS|TEXINFOS|PYTHON)"
)
_VARIABLE = re.compile(r"\$\((\w+)\)|\$\{(\w+)\}|\$(\w{2,})|@(\w+)@")
_DEVELOPMENT = ("include", "lib/pkgconfig", "share/pkgconfig", "share/aclocal", "share/man/man2", "share/man/man3")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The files that Makefile.am files install below the prefix."""

    places: dict[str, set[str]] = field(default_factory=dict)
    """Folder to names in it; "" is a name that is not known."""
    libraries: dict[str, bool] = field(default_factory=dict)
    """libtool's libraries in lib, and whether each has a version in its name."""
    remarks: list[str] = field(default_factory=list)
    compiled: list[str] = field(default_factory=list)
    """Variables that name what comes out of a compiler."""


def find_fields(files: Mapping[str, str], names: str) -> list[str]:
    """Values of these fields in .spec and .pc.in files that hold no variables."""
    chosen = sorted((path for path in files if re.search(r"\.(spec|spec\.in|pc\.in)$", path)), key=len)
    found = [re.findall(rf"(?m)^(?:{names}):[ \t]*(\S.*)", files[path]) for path in chosen]
    return [value.strip() for values in found for value in values if not re.search(r"[%@$]", value)]


def find_words(files: Mapping[str, str], configure: str) -> dict[str, bool]:
    """List the words that a build asks for: foo.pc, -lfoo, foo.h, programs, macros.

    True marks those that a draft tells of where no package is known.
    """
    words: dict[str, bool] = {}
    for call in read_calls(configure, "PKG_CHECK_MODULES|PKG_CHECK_MODULES_STATIC"):
        words.update(dict.fromkeys(_read_modules("".join(call[1:2])), True))
    for call in read_calls(configure, "AC_CHECK_LIB"):
        words.update({f"-l{call[0]}": True} if re.fullmatch(r"[\w.+-]+", call[0]) else {})
    for call in read_calls(configure, "AC_SEARCH_LIBS"):
        words.update({f"-l{name}": False for name in "".join(call[1:2]).split() if f"-l{name}" not in words})
    for call in read_calls(configure, "AC_CHECK_HEADERS?"):
        words.update(dict.fromkeys(call[0].split(), False))
    for call in read_calls(configure, "AC_CHECK_PROGS?|AC_PATH_PROGS?|AC_CHECK_TOOL"):
        words.update(dict.fromkeys("".join(call[1:2]).split(), False))
    defined = {call[0] for path, text in files.items() if path.endswith(".m4") for call in read_calls(text, "AC_DEFUN")}
    archived = set(re.findall(r"\bAX_\w+", configure)) - defined
    macros = sorted(set(re.findall(r"\b(?:(?:A[CM]|IT|LT|LTDL)_\w+|PKG_)", configure)))
    words.update(dict.fromkeys([*macros, *(["AX_"] if archived else [])], False))
    if any(path.endswith(".am") and "_TEXINFOS" in text for path, text in files.items()):
        words["makeinfo"] = False
    return words


def find_make_words(files: Mapping[str, str]) -> dict[str, bool]:
    """List the words that plain Makefiles ask for, as find_words() does."""
    words: dict[str, bool] = {}
    for path, text in files.items():
        if not re.fullmatch(r"(.*/)?(GNUm|M)akefile", path):
            continue
        lines = re.sub(r"(?m)\\\n|^\s*#.*", " ", text)
        words.update({name: False for name in re.findall(r"(?<=[\s=])-l[A-Za-z][\w.+-]*", lines) if name not in words})
        for called in re.findall(r"(?:pkg-config|\$[({]PKG_?CONFIG[)}])(.*)", lines):
            plain = re.sub(r"\$[({]\w+[)}]", " ", called)
            _, option, named = re.split(r"[)`|;&]|\d?>\s*/", plain)[0].rpartition(" --")
            modules = _read_modules(re.sub(r"^[\w-]+|[\"']", " ", named)) if option else []
            words.update(dict.fromkeys(modules, True))
            words["PKG_"] = False
    return words


def find_folder_words(files: Mapping[str, str]) -> tuple[str, ...]:
    """Variables of make for a Makefile at the top that calls the prefix as GNU does, and not PREFIX."""
    text = next((files[name] for name in ("GNUmakefile", "Makefile") if name in files), "")
    named = {name for name in ("prefix", "PREFIX") if re.search(rf"(?m)^\s*(export\s+)?{name}\s*[:?]*=", text)}
    return ("prefix=$PREFIX",) if named == {"prefix"} else ()


def _read_modules(text: str) -> list[str]:
    """The pkg-config files of 'foo >= 1.2, bar'."""
    words = re.sub(r"[<>=!]+\s*\S+|,", " ", text).split()
    return [f"{word}.pc" for word in words if re.fullmatch(r"[A-Za-z0-9][\w.+-]*", word, re.ASCII)]


def find_required(files: Mapping[str, str]) -> dict[str, bool]:
    """The pkg-config files that those of upstream itself require."""
    own = {path.rpartition("/")[2].removesuffix(".in") for path in files if path.endswith(".pc.in")}
    templates = {path: text for path, text in files.items() if path.endswith(".pc.in")}
    lines = find_fields(templates, r"Requires(?:\.private)?")
    return {module: False for line in lines for module in _read_modules(line) if module not in own}


def read_calls(text: str, macros: str) -> Iterator[list[str]]:
    """The arguments of every call of these macros of m4, each without its quotes."""
    for match in re.finditer(rf"(?<!\w)(?:{macros})\(", text):
        arguments, quotes, depth = [""], 0, 1
        for letter in text[match.end() : match.end() + 5000]:
            quotes += (letter == "[") - (letter == "]")
            depth += 0 if quotes else (letter == "(") - (letter == ")")
            if not depth:
                break
            if letter == "," and depth == 1 and not quotes:
                arguments.append("")
            else:
                arguments[-1] += letter
        yield [re.sub(r"^\[(.*)\]$", r"\1", word.strip(), flags=re.DOTALL).strip() for word in arguments]


def substitute(pattern: re.Pattern[str], text: str, values: Mapping[str, str]) -> str:
    """The text with names that the pattern finds replaced by their values, and names in those; not without end."""
    for _ in range(8):
        new = pattern.sub(lambda match: values.get(match[match.lastindex or 0], match[0]), text)
        if new == text or len(new) > 1 << 20:
            break
        text = new
    return text


def read_makefiles(files: Mapping[str, str], configure: str, tarname: str) -> Installed:
    """Read the files that Makefile.am installs: those that configure.ac names, or all when it names none plainly."""
    installed = Installed()
    certain, lost, rules = set[str](), list[str](), list[str]()
    outputs = set(re.findall(r"(?<![\w./+-])[\w./+-]*Makefile\b", configure))
    shell = dict(re.findall(r"""(?<!\w)(\w+)=["']?(\$\{?\w*(?:dir|prefix)\b[\w./{}-]*)""", configure))
    names = dict.fromkeys(("PACKAGE", "PACKAGE_NAME", "PACKAGE_TARNAME"), tarname)
    for path, text in sorted(files.items()):
        unused = "Makefile" in outputs and path.endswith("Makefile.am") and path.removesuffix(".am") not in outputs
        if not path.endswith(".am") or unused:
            continue
        values, sure = _read_variables(text)
        known = {**shell, **_FOLDERS, **names, **values}
        for variable, value in values.items():
            match = _PRIMARY.fullmatch(variable)
            if match is None or match[1] in ("noinst", "check", "EXTRA"):
                continue
            items = substitute(_VARIABLE, value, known).split()
            places = {_enter(installed, match, item, known) for item in items}
            lost += [variable] if "" in places else []
            certain |= places if variable in sure else set()
        rules += [f"{rule} in {path}" for rule in re.findall(r"(?m)^(install-\w+-(?:local|hook))\s*:", text)]
    if "AM_GNU_GETTEXT" in configure and any(path.startswith("po/") for path in files):
        installed.places["share/locale"] = {""}
        certain.add("share/locale")
    told = {
        "not known where these go": lost,
        "these rules may install more": rules,
        "only under a condition of Makefile.am": sorted(installed.places.keys() - certain),
    }
    installed.remarks.extend(f"{remark}: {', '.join(what)}" for remark, what in told.items() if what)
    return installed


def _enter(installed: Installed, match: re.Match[str], item: str, known: Mapping[str, str]) -> str:
    """Enter one item of a variable such as dist_man_MANS; the folder it goes to, or "" when that is not known."""
    owner, primary = match[1], match[2]
    below, _, name = item.rpartition("/")
    if not re.fullmatch(r"(?!\.)[\w.+~-]+", name, re.ASCII):
        below, name = "", ""
    place = substitute(_VARIABLE, f"$({owner}dir)", known)
    if primary == "MANS" and (section := re.search(r"^man(\d)$|\.(\d)\w*$", name if owner == "man" else owner)):
        place = f"@/share/man/man{section[1] or section[2]}"
    elif primary == "TEXINFOS":
        place, name = "@/share/info", ""
    elif "nobase_" in match[0] and below:
        place = f"{place}/{below}"
    place = place.rstrip("/")
    if not re.fullmatch(r"@(/(?!\.)[\w.+~-]+)+", place, re.ASCII):
        return ""
    place = place.removeprefix("@/")
    if primary == "LTLIBRARIES" and place == "lib" and name:
        flags = known.get(re.sub(r"\W", "_", name) + "_LDFLAGS", "") + known.get("AM_LDFLAGS", "")
        installed.libraries[name.removesuffix(".la")] = "-avoid-version" not in substitute(_VARIABLE, flags, known)
    installed.places.setdefault(place, set()).add("" if primary == "LTLIBRARIES" else name)
    installed.compiled.extend([item] if primary in ("PROGRAMS", "LTLIBRARIES", "LIBRARIES") else [])
    return place


def _read_variables(text: str) -> tuple[dict[str, str], set[str]]:
    """The variables of a Makefile.am, with all that conditions add to them, and those set whatever the conditions."""
    values: dict[str, str] = {}
    sure: set[str] = set()
    depth = 0
    for line in re.sub(r"\\\n", " ", text).splitlines():
        depth += bool(re.match(r"if\w*\s", line)) - line.startswith("endif")
        if match := re.match(r"(\w+)\s*[+:?]?=([^#]*)", line):
            name, value = match.groups()
            values[name] = value.strip() if name.endswith("dir") else f"{values.get(name, '')} {value}"
            sure |= {name} if value.strip() and depth == 0 else set()
    return values, sure


def split(installed: Installed) -> tuple[list[str], list[str], list[str]]:
    """Patterns for the package, for its -dev package (none when there is none), and for not-installed."""
    places = installed.places
    versioned = sorted(name for name, has_version in installed.libraries.items() if has_version)
    archives = any(name.endswith(".a") for name in places.get("lib", ()))
    two = any(place.partition("/")[0] == "include" for place in places) and bool(versioned or archives)
    common = "lib*" if len(versioned) > 1 and len(versioned) == len(installed.libraries) else ""
    runtime = [f"lib/{name}.so" for name in installed.libraries if name not in versioned]
    development: list[str] = []
    for name in [common] if common else versioned:
        runtime.append(f"lib/{name}.so" + (".*" if two else "*"))
        development += [f"lib/{name}.so"] if two else []
    left: list[str] = []
    for place, names in places.items():
        crowded = place == "lib" or any(other.startswith(f"{place}/") for other in places)
        named = [f"{place}/{name}" for name in names if name]
        of_dev = two and (place.startswith(_DEVELOPMENT) or (archives and place == "lib"))
        if place.startswith(("share/doc/", "share/info")):
            left.append("/".join(place.split("/")[:3]))
        elif place == "lib" or (named and (crowded or len(names) == 1)):
            (development if of_dev else runtime).extend(named)
        else:
            (development if of_dev else runtime).append(place)
    return _sort(runtime), _sort(development), _sort(left)


def _sort(paths: Sequence[str]) -> list[str]:
    """Paths in order, without those below another."""
    return sorted(path for path in {*paths} if not any(path.startswith(f"{other}/") for other in paths))
