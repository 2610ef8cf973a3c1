"""Find the names of machines in a text, and take no file's name for one.

`evil.top` is a host and `photo.png` is a file, and only the ending tells them apart. An ending that is a country's or one
of the usual ones makes a host; one that is also a file's, or a word that stands behind a dot in code, needs a path, a port,
or a verb before it that asks for a visit.
"""

# ruff: noqa: RUF001, SIM905 - endings of other alphabets, and lists that are read as prose
from __future__ import annotations

import re
from collections.abc import Iterator

# Always a host, however short the name before it.
_USUAL = frozenset(
    ("com", "net", "org", "edu", "gov", "info", "biz", "io", "dev", "app", "xyz", "ru", "cn", "me", "co")
)
# Countries, without those whose ending is a file's (`md`, `py`, `sh`, `rs`, `pl` ...) or a field's (`id`).
_COUNTRIES = frozenset((
    "ae af ag al am ao aq ar at au aw az ba bb bd be bf bg bh bi bj bm bn bo bs bt bv bw by ca cd cf cg ch ci ck cm cr cu cv cw "
    "cx cy de dj dk dz ec ee eg er es et eu fi fj fk fm fo fr ga gb ge gf gg gh gi gl gn gp gq gr gt gu gw gy hk hm hn hr ht hu "
    "ie il iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz lb li lk lr ls lu lv ly ma mc mg mh mn mq mr mt mu mv mw mx "
    "my mz na ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pn pr pw qa re ro rw sa sb sd se sg si sj sk sl sm sn so sr ss su "
    "sx sy sz td tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz vc ve vg vn vu wf ws ye yt za zm zw"
).split())  # fmt: skip
_OTHERS = frozenset((
    "academy accountant adult aero agency africa amsterdam arpa asia bank bayern beer berlin bet bid blog bond boston brussels buzz "
    "capetown capital casino cfd click cloud club cologne consulting coop cricket cyou dubai durban faith finance foundation fun gay "
    "gdn gmbh google guru hamburg hosting i2p icu insurance int istanbul joburg kim kiwi koeln kyoto lgbt live llc loan lol london "
    "ltd melbourne miami mil mobi moe monster moscow nagoya ninja nyc okinawa one onion online ooo osaka paris party poker porn "
    "press quebec quest racing rocks ruhr saarland sbs sex sexy shop site solutions space store surf sydney taipei tech tel tokyo top "
    "ventures vegas vip vlaanderen wales webcam website wien wiki win xxx zappos"
).split())  # fmt: skip
_FOREIGN = (
    r"рф|рус|укр|бел|бг|срб|мкд|қаз|онлайн|сайт|орг|ком|дети|москва|ею|中国|中國|公司|网络|网址|网站|在线|香港|台湾|台灣|みんな|コム|"
    r"한국|닷컴|닷넷|भारत|قطر|مصر|السعودية|امارات|ایران|ישראל|ελ|ευ|ไทย|xn--[a-z0-9-]{2,59}"
)
# Endings of files; what is not here and no country's may be a host when something else says so.
_FILES = frozenset((
    "7z aac ai avi bak bash bat bin bmp br bz c cc cfg cl class conf cpp cs css csv dat db dll dmg do doc docx ds eml env eps epub "
    "exe ext gd gif go gz h heic hpp hs htm html ico in ini ipynb jar java jpeg jpg js json jsonl jsx key kt la less lock log lua m4a "
    "mail md mk ml mm mo mov mp3 mp4 mpg odp ods odt ogg old orig otf parquet pdf php pl pm png ppt pptx ps psd pt py pyc rar raw rb rs "
    "rst rtf sc scss sh so sql sqlite st sv svelte svg swift tar tc tex tf tgz tif tiff toml ts tsv tsx ttf txt vb vi vue wav "
    "webm webp wma wmv woff xls xlsx xml yaml yml z zip zsh"
).split())  # fmt: skip
# Words that begin a sentence whose blank is missing: "a word.It is". Longer endings with a capital are words too.
_WORDS = frozenset("am as at be by do in is it me my no so to us".split())
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_DOTTED = re.compile(
    rf"(?<![\w-])_?(?P<name>{_LABEL}(?:\.{_LABEL}){{1,9}})(?P<tail>\.?(?::\d{{2,5}}\b)?(?:[/?#][^\s`\"'<>)]*)?)(?P<call>\(?)",
    re.IGNORECASE,
)
_ABROAD = re.compile(rf"(?:{_FOREIGN})\Z", re.IGNORECASE)
_ENDING = re.compile(r"[a-z]{2,24}\Z")
_GO = re.compile(
    r"(?:\b(?:visit(?:ing)?|brows(?:e|ing)(?: to)?|surf(?:ing)? to|navigat(?:e|ing) to|ping|curl|wget|nslookup|domain|web ?site|"
    r"home ?page|besuche|visitez|visita)(?: is| named| called|:)?|\bgo to(?: the (?:site|page))?)\s+[\"'`(<*]{0,3}\Z",
    re.IGNORECASE,
)
_SEND = re.compile(
    r"\b(?:contact|connect to|host(?:name)?|server|url|from the site|(?:upload|post|report|submit|sen[dt]|forward|deliver|leak)\w{0,3}"
    r"(?: [\w']{1,20}){0,5} (?:to|at|on|via))\s+[\"'`(<*]{0,3}\Z",
    re.IGNORECASE,
)
_LOOK_BACK = 80  # characters before a name in which the verb stands


def hosts(text: str) -> Iterator[str]:
    """Yield the names of machines in *text*, each with its port and path.

    >>> list(hosts("Visit evil.de or t.co/x, not report.pdf, v1.2, e.g. os.path or the end.It is"))
    ['evil.de', 't.co/x,']
    """
    for match in _DOTTED.finditer(text):
        if _is_host(match, text[max(0, match.start() - _LOOK_BACK) : match.start()]):
            yield match["name"] + match["tail"]


def _is_host(match: re.Match[str], before: str) -> bool:
    labels = match["name"].split(".")
    while len(labels) > 1:
        written, ending = labels[-1], labels[-1].lower()
        if ending in _USUAL:
            return not match["call"] or ending not in ("app", "me", "info", "co")
        whole = len(labels) == match["name"].count(".") + 1
        if ending in _FILES:
            return whole and bool(_GO.search(before))
        if whole and (_ABROAD.match(ending) or (_ENDING.match(ending) and _reached(match, labels, written, before))):
            return True
        labels.pop()  # "evil.com.Then" is a host whose sentence has ended
    return False


def _reached(match: re.Match[str], labels: list[str], written: str, before: str) -> bool:
    """Tell whether an ending of letters is a host's: by what it is, or by what stands around it."""
    ending, name = written.lower(), labels[-2]
    tail = match["tail"].lstrip(".")
    if tail.startswith((":", "/")) or _GO.search(before) or _SEND.search(before):
        return any(char.isalpha() for char in name)
    if match["call"] or len(name) < 2 or not any(char.isalpha() for char in name):  # noqa: PLR2004 - "i.am" is none
        return False
    joined = written.istitle() and (len(written) > 2 or ending in _WORDS)  # noqa: PLR2004 - a country's has two
    return ending in _COUNTRIES | _OTHERS and not joined
