"""XML that is meant to hurt: each advisory about expat and entities is a case of its own."""

from __future__ import annotations

import time

import pytest

from gateway.s3 import xml
from gateway.s3.errors import S3Error

ATTACK = "<Delete><Object><Key>&a9;</Key></Object></Delete>"
LAYERS = "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))
LAUGHS = f"<!DOCTYPE Delete [<!ENTITY a0 'ha'>{LAYERS}]>{ATTACK}"
QUADRATIC = f"<!DOCTYPE Delete [<!ENTITY a9 '{'x' * 50_000}'>]>" + ATTACK.replace("&a9;", "&a9;" * 10_000)
EXTERNAL = f"<!DOCTYPE Delete [<!ENTITY a9 SYSTEM 'file:///etc/passwd'>]>{ATTACK}"
PARAMETER = '<!DOCTYPE Delete [<!ENTITY % a SYSTEM "http://127.0.0.1:1/x"> %a;]><Delete/>'
BOMBS = {
    "cve_2013_1664_billion_laughs": LAUGHS,
    "cve_2013_1664_quadratic_blowup": QUADRATIC,
    "cve_2013_1665_external_entity": EXTERNAL,
    "cve_2013_1665_parameter_entity": PARAMETER,
    "cve_2013_1665_in_utf16": EXTERNAL.encode("utf-16"),
    "cve_2013_1665_in_utf7": b'<?xml version="1.0" encoding="UTF-7"?>' + EXTERNAL.encode("utf-7"),
    "cve_2024_8176_deep_nesting": "<a>" * 200_000 + "</a>" * 200_000,
    "cve_2024_8176_deep_known_elements": "<Delete>" + "<Object>" * 50_000 + "</Object>" * 50_000 + "</Delete>",
    "cve_2023_52425_one_large_token": "<Delete " + "a" * 3_000_000 + "/>",
    "cve_2023_52425_unclosed_token": "<Delete a='" + "x" * 3_000_000,
    "cve_2023_52425_large_comment": "<Delete><!--" + "x" * 3_000_000 + "--></Delete>",
    "cve_2025_66382_many_attributes": "<Delete " + " ".join(f"a{n}='1'" for n in range(200_000)) + "/>",
    "cve_2026_4224_nested_content_model": "<!DOCTYPE Delete [<!ELEMENT a "
    + "(" * 50_000
    + "b"
    + ")" * 50_000
    + ">]><Delete/>",
    "cve_2026_7210_attribute_names_that_collide": "<Delete "
    + " ".join(f"xmlns:a{n}='u{n}'" for n in range(900))
    + " b='1'/>",
    "many_elements": "<Delete>" + "<Object/>" * 400_000 + "</Delete>",
    "many_lone_brackets": "<" * 4_000_000,
    "much_text": "<Delete>" + "x" * 4_000_000 + "</Delete>",
}


@pytest.mark.parametrize("document", BOMBS.values(), ids=BOMBS.keys())
def test_xml_bomb(document: str | bytes) -> None:
    body = document.encode() if isinstance(document, str) else document
    started = time.process_time()
    for parse in (xml.parse_delete, xml.parse_complete, xml.parse_create_bucket):
        with pytest.raises(S3Error) as refused:
            parse(body)
        assert refused.value.status == 400
    assert time.process_time() - started < 1.5
