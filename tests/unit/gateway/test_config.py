from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.config import Config, ConfigError, Listen, load_config
from gateway.config.load import FILE_ONLY, FILE_VARIABLE, known_keys, variable_of

EXAMPLE = Path(__file__).parents[3] / "config.example.yaml"
KIB, MIB, GIB = 2**10, 2**20, 2**30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def test_the_example_has_every_key_with_its_default_and_a_comment() -> None:
    document = yaml.safe_load(EXAMPLE.read_text())
    keys = [
        f"{name}.{inner}" if isinstance(value, dict) else name
        for name, value in document.items()
        for inner in (value if isinstance(value, dict) else [name])
    ]
    assert keys == known_keys()
    assert load_config(EXAMPLE, {}) == Config() == load_config(None, {})
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r" *[a-z_0-9]+: \S", line):
            assert lines[number - 1].lstrip().startswith("#"), line


def test_the_defaults() -> None:
    config = Config()
    assert (config.data_dir, config.listen) == (Path("ms3t-data"), Listen("127.0.0.1", 9000))
    assert (config.s3.region, config.s3.domains) == ("us-east-1", ())
    assert (config.tree.bits, config.tree.salt) == (4, "none")
    assert config.store.reserve_free_bytes == 64 * MIB
    assert config.limits.shutdown_seconds == 30


def test_flags_win_over_variables_over_the_file_over_defaults(file: Path) -> None:
    file.write_text("listen: localhost:1\ns3: {region: file, domains: [file.example]}\nlog:\n  level: error\n")
    environment = {"MS3T_LISTEN": "localhost:2", "MS3T_S3_REGION": "variable", "HOME": "/", "MS3": "x"}
    flags = {"listen": "localhost:3", "log.level": None}
    config = load_config(file, environment, flags)
    assert str(config.listen) == "localhost:3"
    assert config.s3.region == "variable"
    assert config.s3.domains == ("file.example",)
    assert config.log.level == "error"
    assert config.log.format == "text"


def test_a_variable_names_the_file_and_a_flag_another(file: Path, tmp_path: Path) -> None:
    file.write_text("s3: {region: one}")
    other = tmp_path / "other.yaml"
    other.write_text("s3: {region: two}")
    environment = {FILE_VARIABLE: str(file)}
    assert load_config(None, environment).s3.region == "one"
    assert load_config(other, environment).s3.region == "two"
    assert load_config(None, {FILE_VARIABLE: ""}) == Config()


def test_every_key_has_a_variable_of_its_own() -> None:
    keys = [key for key in known_keys() if key not in FILE_ONLY]
    variables = [variable_of(key) for key in keys]
    assert variable_of("s3.region") == "MS3T_S3_REGION"
    assert len(set(variables)) == len(variables) == 31
    assert FILE_VARIABLE not in variables
    for key in keys:
        default = _value(Config(), key)
        shown = ",".join(default) if isinstance(default, tuple) else str("" if default is None else default)
        assert load_config(None, {variable_of(key): shown.lower() if default is True else shown}) == Config()


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "s3:\n", "s3:\n  # region: x\nlog: {}\n"])
def test_a_file_may_set_nothing(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_config(file, {}) == Config()


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65536), ("64KiB", 65536), ("64 KiB", 65536), ("'65536'", 65536), ("65536B", 65536), ("0.5MiB", None)],
)
def test_sizes_have_units(file: Path, text: str, size: int | None) -> None:
    file.write_text(f"store:\n  inline_body_bytes: {text}\n")
    if size is None:
        with pytest.raises(ConfigError, match="such as 64MiB"):
            load_config(file, {})
    else:
        assert load_config(file, {}).store.inline_body_bytes == size


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:0", "127.0.0.1", 0), ("[::1]:9000", "::1", 9000), ("my-host.example:65535", "my-host.example", 65535)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    listen = load_config(None, {"MS3T_LISTEN": text}).listen
    assert listen == Listen(host, port)
    assert str(listen) == text


def test_lists_and_switches_in_variables() -> None:
    environment = {"MS3T_S3_DOMAINS": "S3.example.com, local.example", "MS3T_LOG_ACCESS": "false"}
    config = load_config(None, environment)
    assert config.s3.domains == ("s3.example.com", "local.example")
    assert config.log.access is False
    assert load_config(None, {"MS3T_S3_DOMAINS": ""}).s3.domains == ()


def test_a_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_config(None, {"MS3T_DATA_DIR": "~/data"}).data_dir == Path("/home/somebody/data")


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Config().s3.region = "other"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1", 1, r"there is no key a; known are data_dir, listen"),
        ("\nlisten: localhost:1\nlistne: x", 3, r"there is no key listne; did you mean listen\?"),
        ("s3:\n  regoin: x", 2, r"there is no key s3.regoin; did you mean region\?"),
        ("s3.region: x", 1, "there is no key s3.region"),
        ("? [a]\n: b", 1, "there is no key"),
        ("<<: {listen: localhost:1}", 1, "there is no key <<"),
        ("listen: localhost:1\nlisten: localhost:2", 2, "listen is set twice"),
        ("s3:\n  region: a\n  region: a", 3, "s3.region is set twice"),
        ("- a", 1, "the file must hold keys"),
        ("text", 1, "the file must hold keys"),
        ("s3: text", 1, "s3 must have keys"),
        ("tree:\n- a", 2, "tree must have keys"),
        ("listen:", 1, "listen has no value"),
        ("listen: ~", 1, "listen has no value"),
        ("\n\nlisten: [1", 3, "not YAML: "),
        ("listen: 'a", 1, "not YAML: "),
        ("a\n\tb: c", 2, "not YAML: "),
        ("listen: x\n--- \nlisten: y", 2, "not YAML: "),
        ("\n\0", 2, "not YAML: "),
        ("listen: *a", 1, "not YAML: "),
        ("s3:\n  region: !!python/object:os.system x", 2, "not YAML: "),
        ("s3:\n  region: 2026-99-99", 2, "s3.region has a value YAML cannot read"),
        ("s3:\n  region: {a: b}", 2, "s3.region must be one value or a list"),
        ("s3:\n  domains: [[a]]", 2, "s3.domains must be one value or a list"),
        ("s3:\n  region: &a [*a]", 2, "s3.region must be one value or a list"),
        ("listen: 9000", 1, "listen is 9000: must be HOST:PORT, such as 127.0.0.1:9000"),
        ("listen: [localhost]", 1, r"listen is \['localhost'\]: must be HOST:PORT"),
        ("listen: localhost", 1, "must be HOST:PORT, such as 127.0.0.1:9000"),
        ("listen: ':9000'", 1, "must be HOST:PORT"),
        ("listen: ::1:9000", 1, "must be HOST:PORT"),
        ("listen: '[12]:9000'", 1, "listen is '\\[12\\]:9000': "),
        ("listen: http://localhost:9000", 1, "must be HOST:PORT"),
        ("listen: localhost:65536", 1, "the port must be 0 to 65535"),
        ("data_dir: ''", 1, "must be the path of a folder"),
        ("data_dir: 5", 1, "must be the path of a folder"),
        ("s3:\n  region: No", 2, "s3.region is False: must be 1 to 63 small letters"),
        ("s3:\n  region: EU", 2, "must be 1 to 63 small letters, digits and dashes, such as us-east-1"),
        ("s3:\n  domains: ['https://a']", 2, "s3.domains is .*: must be a domain name such as"),
        ("s3:\n  domains: [a, -b]", 2, "must be a domain name"),
        ("tree:\n  bits: 0", 2, "tree.bits is 0: input should be greater than or equal to 1"),
        ("tree:\n  bits: 7", 2, "less than or equal to 6"),
        ("tree:\n  bits: yes", 2, "tree.bits is True: must be a number"),
        ("tree:\n  bits: 4.5", 2, "valid integer"),
        ("tree:\n  salt: sugar", 2, "input should be 'none' or 'random'"),
        ("store:\n  segment_bytes: 1KiB", 2, "greater than or equal to 1048576"),
        ("store:\n  segment_bytes: 1 GB", 2, "a unit B, KiB, MiB, GiB or TiB, such as 64MiB"),
        ("store:\n  segment_bytes: -1", 2, "greater than or equal"),
        ("store:\n  inline_body_bytes: 2MiB", 2, "less than or equal to 1048576"),
        ("limits:\n  body_idle_seconds: 0", 2, "greater than 0"),
        ("limits:\n  shutdown_seconds: .nan", 2, "less than or equal to 3600"),
        ("limits:\n  connections_max: many", 2, "valid integer"),
        ("log:\n  level: loud", 2, "input should be 'debug', 'info', 'warning' or 'error'"),
        ("log:\n  access: sometimes", 2, "must be true or false"),
    ],
)
def test_refusals_name_file_and_line(file: Path, text: str, line: int, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"{re.escape(str(file))}:{line}: (.*{reason})") as caught:
        load_config(file, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MS3T_LISTN", "localhost:1", r"there is no such setting; did you mean MS3T_LISTEN\?"),
        ("MS3T_", "x", "there is no such setting"),
        ("MS3T_FOO", "x", "there is no such setting; config.example.yaml explains every setting$"),
        ("MS3T_S3REGION", "x", r"there is no such setting; did you mean MS3T_S3_REGION\?"),
        ("MS3T_S3_REGION", "", "s3.region is '': must be 1 to 63 small letters"),
        ("MS3T_TREE_BITS", "four", "tree.bits is 'four': input should be a valid integer"),
        ("MS3T_LOG_ACCESS", "1", "log.access is '1': must be true or false"),
        ("MS3T_STORE_SEGMENT_BYTES", "lots", "such as 64MiB"),
    ],
)
def test_refusals_name_the_variable(name: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"environment variable {name}: .*{reason}"):
        load_config(None, {name: value})


def test_refusals_name_the_flag() -> None:
    with pytest.raises(ConfigError, match="--data-dir: data_dir is '': must be"):
        load_config(None, {}, {"data_dir": ""})
    with pytest.raises(ConfigError, match=r"--s3-region: s3.region is 'A': "):
        load_config(None, {}, {"s3.region": "A"})


def test_a_value_that_is_overruled_is_not_judged_by_the_wrong_place(file: Path) -> None:
    file.write_text("tree:\n  bits: 5\n")
    with pytest.raises(ConfigError, match=r"environment variable MS3T_TREE_BITS: tree.bits is '9'"):
        load_config(file, {"MS3T_TREE_BITS": "9"})


def test_files_that_cannot_be_read(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing.yaml: cannot read the configuration file: No such file"):
        load_config(tmp_path / "missing.yaml", {})
    with pytest.raises(ConfigError, match=r"missing.yaml"):
        load_config(None, {FILE_VARIABLE: str(tmp_path / "missing.yaml")})
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path, {})
    file.write_bytes(b"# \xc3\xa9\n# \xff\n")
    with pytest.raises(ConfigError, match=r"config.yaml:2: not UTF-8"):
        load_config(file, {})
    file.write_bytes(bytes(2**20 + 1))
    with pytest.raises(ConfigError, match="longer than 1048576 bytes"):
        load_config(file, {})
    file.write_text("s3: " + "[" * 5000)
    with pytest.raises(ConfigError, match=r"nested too deeply|not YAML"):
        load_config(file, {})


@given(text=st.one_of(st.text(), st.text(alphabet="s3: \nregionlst[]{}'\"&*!#-|>?%@,.0")))
def test_no_file_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "arbitrary.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_config(file, {})
    except ConfigError as error:
        assert str(file) in str(error)


KEY = "access_key: backup, secret_key: s3cr3t-s3cr3t"


def test_access_keys(file: Path) -> None:
    file.write_text(f"credentials:\n- {{{KEY}, display_name: The job}}\n- access_key: x.y\n  secret_key: '12345678'\n")
    file.chmod(0o600)
    config = load_config(file, {})
    first, second = (section.credential for section in config.credentials)
    assert (first.access_key, first.secret, first.display_name) == ("backup", "s3cr3t-s3cr3t", "The job")
    assert (second.access_key, second.secret, second.display_name) == ("x.y", "12345678", "x.y")
    assert re.fullmatch("[0-9a-f]{64}", first.owner_id)
    assert first.owner_id != second.owner_id
    assert not first.disabled
    assert "s3cr3t" not in repr(config)
    file.write_text("credentials:\n- {access_key: backup, secret_key: another-one}\n")
    (rotated,) = load_config(file, {}).credentials
    assert rotated.credential.owner_id == first.owner_id
    file.write_text("credentials: []\n")
    assert load_config(file, {}) == Config()


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("credentials: s3cr3t", 1, "credentials must be a list"),
        ("credentials:\n- s3cr3t-s3cr3t", 2, "credentials, item 1 must have keys"),
        ("credentials:\n- {access_key: backup}", 2, "item 1: secret_key: field required"),
        ("credentials:\n- {secret_key: s3cr3t-s3cr3t}", 2, "item 1: access_key: field required"),
        (f"credentials:\n- {{{KEY}, expires: 5}}", 2, "there is no key credentials, item 1: expires"),
        (f"credentials:\n- {{{KEY}}}\n- {{{KEY}}}", 3, "item 2: access_key backup is set twice"),
        (f"credentials:\n- {{{KEY}, access_key: x}}", 2, "item 1: access_key is set twice"),
        ("credentials:\n- {access_key: a/b, secret_key: s3cr3t-s3cr3t}", 2, "item 1: access_key: must be 3 to 128"),
        ("credentials:\n- {access_key: ab, secret_key: s3cr3t-s3cr3t}", 2, "item 1: access_key: must be 3 to 128"),
        ("credentials:\n- {access_key: 12345, secret_key: s3cr3t-s3cr3t}", 2, "access_key: must be .* in quotes"),
        ("credentials:\n- {access_key: abc, secret_key: s3cr3t}", 2, "item 1: secret_key: must be 8 to 128"),
        ("credentials:\n- {access_key: abc, secret_key: s3cr3t s3cr3t}", 2, "item 1: secret_key: must be 8 to 128"),
        ("credentials:\n- {access_key: abc, secret_key: 1234567890}", 2, "secret_key: must be .* in quotes"),
        ("credentials:\n- {access_key: abc, secret_key: [s3cr3t-s3cr3t]}", 2, "secret_key: must be 8 to 128"),
        ("credentials:\n- {access_key: abc, secret_key: }", 2, "item 1: secret_key has no value"),
        (f"credentials:\n- {{{KEY}, display_name: ''}}", 2, "item 1: display_name: must be 1 to 64"),
        (f"credentials:\n- {{{KEY}, display_name: {'x' * 65}}}", 2, "item 1: display_name: must be 1 to 64"),
        (f'credentials:\n- {{{KEY}, display_name: "a\\e"}}', 2, "item 1: display_name: must be 1 to 64 printable"),
    ],
)
def test_malformed_access_keys_are_refused_without_showing_a_secret(
    file: Path, text: str, line: int, reason: str
) -> None:
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:{line}: .*{reason}") as caught:
        load_config(file, {})
    assert "s3cr3t" not in str(caught.value)
    assert "1234567890" not in str(caught.value)


def test_access_keys_are_in_a_private_file_or_nowhere(file: Path) -> None:
    file.write_text(f"credentials: [{{{KEY}}}]\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"config.yaml:1: credentials: anybody may read .*0644: chmod 600"):
        load_config(file, {})
    file.chmod(0o640)
    assert len(load_config(file, {}).credentials) == 1
    with pytest.raises(
        ConfigError, match="variable MS3T_CREDENTIALS: credentials can only be set in the configuration file"
    ):
        load_config(None, {"MS3T_CREDENTIALS": "x"})


def test_less_can_be_kept_only_where_something_else_has_the_rest() -> None:
    with pytest.raises(ConfigError, match="no remote"):
        load_config(None, {"MS3T_CACHE_MAX_BYTES": "0"})
    assert load_config(None, {"MS3T_CACHE_MAX_BYTES": ""}).cache.max_bytes is None
