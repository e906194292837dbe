"""Where configuration comes from: defaults, then a YAML file, then ``MS3T_*`` variables, then flags; later ones win.

Every value keeps its place (file and line, variable, flag), so that whatever is wrong with it can be named by it.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from pydantic import ValidationError

from gateway.config.errors import ConfigError
from gateway.config.model import Config, CredentialSection, Section

VARIABLE_PREFIX: Final = "MS3T_"
FILE_VARIABLE: Final = "MS3T_CONFIG"
"""Names the file, where no flag does."""
FILE_BYTES_MAX: Final = 1 << 20
"""Largest configuration file, in bytes: beyond it, the path is a mistake."""

FILE_ONLY: Final = frozenset({"credentials"})
"""Keys that only a file sets: their values are no single words, and secret."""


class _Value(NamedTuple):
    value: object
    place: str


def load_config(
    file: Path | None,
    environment: Mapping[str, str],
    flags: Mapping[str, object] | None = None,
) -> Config:
    """The configuration.

    Args:
        file: the configuration file; None takes the one ``MS3T_CONFIG`` names, if any, and else the defaults.
        environment: the process's environment.
        flags: values of command-line flags by dotted key (``"s3.region"``), None for a flag that was not given.

    Raises:
        ConfigError: a file that is missing or no YAML, an unknown key or variable, a value that is not allowed.
    """
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    values: dict[str, _Value] = {}
    if file is not None:
        values |= _from_file(file)
    values |= _from_environment(environment)
    for key, value in (flags or {}).items():
        if value is not None:
            values[key] = _Value(value, f"--{key.replace('.', '-').replace('_', '-')}")
    return _build(values)


def known_keys() -> list[str]:
    """Every key that can be set, dotted, in the order of the model."""
    keys: list[str] = []
    for name in Config.model_fields:
        section = _section(name)
        keys += [name] if section is None else [f"{name}.{inner}" for inner in section.model_fields]
    return keys


def variable_of(key: str) -> str:
    """The environment variable that sets ``key``: ``s3.region`` is set by ``MS3T_S3_REGION``."""
    return VARIABLE_PREFIX + key.replace(".", "_").upper()


def _section(name: str) -> type[Section] | None:
    annotation = Config.model_fields[name].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _build(values: Mapping[str, _Value]) -> Config:
    tree: dict[str, Any] = {}
    for key, (value, _) in values.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = _key_of(first["loc"])
        if key not in values:  # a section whose values do not fit together: one that was set stands for it
            key = next(name for name in values if name.startswith(f"{key}."))
        reason = first["msg"].removeprefix("Value error, ")
        shown = repr(values[key].value)[:80]
        raise ConfigError(f"{values[key].place}: {key} is {shown}: {reason[:1].lower()}{reason[1:]}") from None


def _key_of(location: tuple[int | str, ...]) -> str:
    """The dotted key of a place in the model, without the index of a list's item."""
    names = [part for part in location if isinstance(part, str)]
    return ".".join(names[: 1 if _section(names[0]) is None else 2])


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Value]:
    key_of = {variable_of(key): key for key in known_keys()}
    values: dict[str, _Value] = {}
    for name, value in environment.items():
        if not name.startswith(VARIABLE_PREFIX) or name == FILE_VARIABLE:
            continue
        if name not in key_of:
            raise ConfigError(f"environment variable {name}: there is no such setting{_nearest_variable(name)}")
        if key_of[name] in FILE_ONLY:
            raise ConfigError(f"environment variable {name}: {key_of[name]} can only be set in the configuration file")
        values[key_of[name]] = _Value(value, f"environment variable {name}")
    return values


def _from_file(path: Path) -> dict[str, _Value]:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration file: {error.strerror}") from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: longer than {FILE_BYTES_MAX} bytes, so it is no configuration file")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8") from None
    try:
        loader = yaml.SafeLoader(text)
        try:
            return _from_document(path, loader)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.reason}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not a configuration: nested too deeply") from None


def _from_document(path: Path, loader: yaml.SafeLoader) -> dict[str, _Value]:
    values: dict[str, _Value] = {}
    top = loader.get_single_node()
    for name, node in _pairs(path, top, "", list(Config.model_fields)):
        section = _section(name)
        if name == "credentials":
            values[name] = _credentials(path, loader, node)
            continue
        if section is None:
            values[name] = _leaf(path, loader, name, node)
            continue
        for inner, inner_node in _pairs(path, node, f"{name}.", list(section.model_fields)):
            key = f"{name}.{inner}"
            values[key] = _leaf(path, loader, key, inner_node)
    return values


def _pairs(path: Path, node: yaml.Node | None, prefix: str, known: list[str]) -> list[tuple[str, yaml.Node]]:
    """The keys of a mapping and their values; none for one whose keys are all commented out."""
    if node is None or _is_null(node):
        return []
    if not isinstance(node, yaml.MappingNode):
        what = f"{prefix.rstrip('.: ')} must have" if prefix else "the file must hold"
        raise ConfigError(f"{_place(path, node)}: {what} keys, one a line, as in `{known[0]}: ...`")
    pairs: dict[str, yaml.Node] = {}
    for key_node, value_node in node.value:
        name = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
        if name not in known:
            hint = _nearest(name, known)
            raise ConfigError(f"{_place(path, key_node)}: there is no key {prefix}{name}{hint}")
        if name in pairs:
            raise ConfigError(f"{_place(path, key_node)}: {prefix}{name} is set twice")
        pairs[name] = value_node
    return list(pairs.items())


def _leaf(path: Path, loader: yaml.SafeLoader, key: str, node: yaml.Node) -> _Value:
    place = _place(path, node)
    if _is_null(node):
        raise ConfigError(f"{place}: {key} has no value; to keep its default, leave the line out")
    scalars = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(scalar, yaml.ScalarNode) for scalar in scalars):
        raise ConfigError(f"{place}: {key} must be one value or a list of values")
    try:
        return _Value(loader.construct_object(node, deep=True), place)
    except ValueError as error:
        raise ConfigError(f"{place}: {key} has a value YAML cannot read: {error}") from None


def _credentials(path: Path, loader: yaml.SafeLoader, node: yaml.Node) -> _Value:
    """The access keys of a file; no message has any of their values but the name of one that is there twice."""
    if not isinstance(node, yaml.SequenceNode):
        raise ConfigError(f"{_place(path, node)}: credentials must be a list, each item with access_key and secret_key")
    found: dict[str, CredentialSection] = {}
    for number, item in enumerate(node.value, 1):
        prefix = f"credentials, item {number}: "
        pairs = _pairs(path, item, prefix, list(CredentialSection.model_fields))
        fields = {name: _leaf(path, loader, f"{prefix}{name}", inner).value for name, inner in pairs}
        try:
            made = CredentialSection.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            reason = first["msg"].removeprefix("Value error, ")
            raise ConfigError(
                f"{_place(path, item)}: {prefix}{first['loc'][0]}: {reason[:1].lower()}{reason[1:]}"
            ) from None
        if made.access_key in found:
            raise ConfigError(f"{_place(path, item)}: {prefix}access_key {made.access_key} is set twice")
        found[made.access_key] = made
    if found and (mode := stat.S_IMODE(path.stat().st_mode)) & stat.S_IRWXO:
        raise ConfigError(
            f"{_place(path, node)}: credentials: anybody may read the secret keys in a file of mode {mode:04o}:"
            f" chmod 600 {path}"
        )
    return _Value(tuple(found.values()), _place(path, node))


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _place(path: Path, node: yaml.Node) -> str:
    return f"{path}:{node.start_mark.line + 1}"


def _nearest_variable(name: str) -> str:
    """A hint for a misspelt variable; what all of them begin with makes none of them near."""
    keys = [key for key in known_keys() if key not in FILE_ONLY]
    known = [variable_of(key).removeprefix(VARIABLE_PREFIX) for key in keys]
    close = get_close_matches(name.removeprefix(VARIABLE_PREFIX), known, n=1)
    return f"; did you mean {VARIABLE_PREFIX}{close[0]}?" if close else "; config.example.yaml explains every setting"


def _nearest(name: str, known: list[str]) -> str:
    """A hint for a misspelt name: the nearest one, or all."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
