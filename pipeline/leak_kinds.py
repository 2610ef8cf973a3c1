"""The kinds of text that must not get into a prompt, each with how it is found.

Every pattern has bounds on what it repeats, so that a text of any kind is searched in time that grows with its length.
Texts arrive as `pipeline.algorithms.lookalikes` spells them, orders on one line as well.
"""

# ruff: noqa: RUF001 - orders in other alphabets
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from pipeline.addresses import hosts
from pipeline.algorithms.lookalikes import lettered

Finder = Callable[[str], Iterable[str]]

CODE = "a code block"
_IP6 = r"[0-9a-f]{1,4}"
_ADDRESS = re.compile(
    r"(?i:\b(?:[a-z][a-z0-9+.-]{1,12}://|www\d?\.|(?:https?|ftps?|sftp|ssh|wss?|ldaps?|hxxps?|mailto|javascript|vbscript):(?=\S)|"
    r"data:(?=[\w,;]))\S*|"
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\blocalhost\b[:/]\S*|"
    rf"\[(?:{_IP6}:|::)[0-9a-f:.]{{0,40}}(?:%\w{{1,16}})?\][:/]\S*|"
    rf"(?<![\w:])(?=[0-9a-f:]{{0,40}}\d)(?:(?:{_IP6}:){{7}}{_IP6}|(?:{_IP6}:){{1,6}}(?::{_IP6}){{1,6}})(?![\w:])|"
    r"(?<![:\w/\\])//[a-z0-9][\w-]{0,62}(?:\.[\w-]{1,63}){0,9}(?::\d{1,5})?/|"
    r"(?<![\w\\])\\\\[\w.@-]{3,64}\\{1,2}[\w$]|\]\(\s{0,3}<?\s{0,3}(?:[/\\]{2}|[a-z][a-z0-9+.-]{1,12}:)|"
    r"\b\w{2,63} ?[ (\[]dot[)\] ] ?(?:com|net|org|info|biz|io|xyz|ru|cn|de)\b|\w{2,63} \. ?(?:com|net|org|ru|xyz)\b)"
)
_OBJECT = (
    r"previous|above|prior|earlier|preceding|foregoing|aforementioned|instructions?|prompts?|directions|directives?|everything|"
    r"guidelines|(?:all|any|your|these|those|its|original|initial) (?:rules|orders|constraints|restrictions|commands)|"
    r"(?:what|whatever|all|anything) (?:that )?(?:was|were|has been|had been|you were|you have been|i|we|they) (?:ever |just )?"
    r"(?:said|told|written|asked|instructed|given|stated)"
)
_NOUN = (
    r"(?:instruction|prompt|directive|guideline|rule|order|command|constraint|restriction|direction|message|training)s?"
)
_WHOSE = r"(?:previous|prior|above|earlier|preceding|foregoing|former|original|initial|existing|your|system)"
_FILL = r"(?:(?:all|any|every|each|the|my|your|of|these|those|that|this|to)\W{1,6}){0,4}"
_ORDERS = tuple(re.compile(f"(?i:{pattern})") for pattern in (
    rf"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget|overrid(?:e|ing)|bypass)\b(?:[^\n]{{0,40}}|\W{{1,12}}{_FILL})\b(?:{_OBJECT})\b",
    (r"\b(?:skip|drop|discard|dismiss|abandon|neglect|delete|erase|wipe|cancel|revoke|overrule|overwrite|supersede|replace|circumvent|nullify|void|"
    r"suspend|disobey|violate|break|set aside|put aside|leave aside|throw (?:away|out)|pay no (?:attention|heed) to|take no notice of|"
    rf"turn a blind eye to|disable|unlearn|stop (?:following|obeying))\b[^\n.]{{0,20}}\b(?:{_WHOSE} (?:\w{{1,15}} ){{0,2}}{_NOUN}|"
    r"(?:instructions|rules|prompt|directions|orders) (?:above|before|so far|you (?:were|have)))\b"),
    (r"\b(?:do not|don't|don’t|dont|never|stop|no longer|refuse to|cease to|need not|needn't) (?:follow(?:ing)?|obey(?:ing)?|heed(?:ing)?|comply with|adhere to|"
    r"listen(?:ing)? to|apply|respect)\b[^\n]{0,30}\b(?:previous|above|prior|earlier|instructions?|(?:your|these|those|system) (?:rules|prompt))\b"),
    (rf"\b(?:previous|prior|earlier|your|system|original) (?:\w{{1,15}} )?{_NOUN} (?:do(?:es)? not|don't|doesn't) apply\b|"
    rf"\b(?:{_WHOSE} (?:\w{{1,15}} )?{_NOUN}|(?:instructions|rules|directions|prompt) (?:above|before))\b[^\n]{{0,20}}\b"
    r"(?:no longer|(?:is|are|was|were|be) (?:\w{1,12} )?(?:void|cancell?ed|revoked|superseded|overridden|over|wrong|suspended|lifted|fake|a lie|a test))\b"),
    (r"\b(?:new|updated|hidden|secret|system|real|actual|true) (?:instructions?|prompt|orders|task)\s?:|\byour (?:new|real|true|actual) "
    r"(?:task|instructions?|goal|job|orders|role|purpose|mission) (?:is|are)\b|\bthe (?:real|true) (?:task|instructions?|job|orders) (?:is|are)\b"),
    (r"\b(?:reveal|print|repeat|show|output|leak|disclose|display|expose|dump|recite|quote|write (?:out|down)|tell (?:me|us))\b[^\n]{0,30}\b"
    r"(?:system (?:prompt|message|instructions?)|(?:hidden|secret|initial) (?:prompt|instructions?)|your (?:own )?(?:prompt|instructions))\b|"
    r"\bwhat (?:is|are|was|were) your (?:system )?(?:prompt|instructions)\b"),
    (r"\byou are (?:now|no longer) (?:a |an |the )?(?:dan|free|unrestricted|uncensored|jailbroken|evil|root|admin|bound|limited|in \w{1,15} mode)\b|"
    r"\b(?:developer|debug|god|dan|admin|jailbreak|unrestricted|maintenance|sudo) mode\b|\bdo anything now\b|\bjailbreak\b|"
    r"\bfrom now on,? you (?:are|will|must|obey|have|answer)\b|"
    r"\b(?:pretend|act|imagine|behave)\b[^\n]{0,20}\b(?:no|without(?: any)?) (?:rules|restrictions|instructions|limits|filters?)\b|"
    r"\bstart (?:over|afresh|anew) (?:with|under) (?:new|these|other) (?:instructions|rules|orders)\b"),
    (r"\b(?:ignorier\w{0,3}|ignor(?:ez|es|a|e|ar|i|eer)|vergiss|vergesst|missachte\w?|verwirf|oubli(?:e|ez)|olvid(?:a|e|ad)|omite|dimentica(?:te)?|"
    r"esquec[ae]|negeer|vergeet|zignoruj|ignoruj|zapomnij|ne (?:suis|suivez) pas|befolge|folge|no sigas|haz caso omiso de)\b[^\n]{0,30}"
    r"\b(?:anweisung(?:en)?|vorherig\w{0,3}|bisherig\w{0,3}|obig\w{0,3}|vorgaben?|regeln|instru[ck][a-z]{3,7}|anterior\w{0,3}|precedent\w{0,3}|"
    r"istruzioni|consignes?|reglas|ordenes|regole|regras|regels|vorige|polecen\w{1,3}|poprzedni\w{1,3})\b"),
    r"(?:игнорир\w{1,6}|забуд\w{1,3}|не следуй\w{0,2}|отмени\w{0,2})\b[^\n]{0,30}(?:инструкц|предыдущ|прежни|правил|указан|выше)",
    (r"(?:忽略|无视|無視|忽视|忽視|忘记|忘記|忘掉|不要遵[守循])[^\n]{0,15}(?:指令|指示|说明|提示|规则|之前|以上|上述|命令)|"
    r"(?:指示|命令|指令|プロンプト|ルール)[^\n]{0,8}(?:無視|忘れ)|(?:지시|명령|이전|규칙)[^\n]{0,12}(?:무시|잊)"),
))  # fmt: skip
_ROLE = re.compile(
    r"(?im:(?:^|[\n.!?]\s{0,9})[ \t#>*_\[(<\"'-]{0,6}(?:system|user|assistant|developer)[ \t]?[\])>*_\"']{0,3}\s{0,3}(?:[:]|=>)|<\|[^|>\n]{0,40}\|>|\[/?INST\]|"
    r"<</?SYS>>|</?s>|<(?:start|end)_of_turn>|</?(?:system|assistant|instructions?|im_start|im_end)>|[\[{(]{1,2} ?(?:system|assistant|inst) ?[\])}]{1,2}|^#{1,6} ?(?:system|assistant)$)"
)
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[0-9A-Z]{12,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|gl[a-z]{2,4}-[\w-]{16,}|sk-[\w-]{16,}|[spra]k_(?:live|test|prod)_\w{8,}|"
    r"(?:hf|npm|gsk|pypi|tok|key|whsec|shp(?:at|ss|ca)|dckr_pat|dop_v1|figd|ntn|rpa|r8|pat|lin_api|nvapi|xai|pplx)[-_][A-Za-z0-9]{16,}|"
    r"xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}|AIza[\w-]{20,}|ya29\.[\w-]{10,}|SG\.[\w-]{16,}|eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]{0,400})?)|"
    r"-----BEGIN [A-Z0-9 ]{0,30}(?:KEY|CERTIFICATE|MESSAGE)|\bssh-(?:rsa|ed25519|dss) [A-Za-z0-9+/]{16,}|"
    r"(?<![\w.-])[\w.-]{1,40}:[^\s:@/]{3,64}@[\w\[]"
)
_CREDENTIAL = (
    r"(?:pass ?word|pass ?wd|pass ?phrase|pass ?code|pwd|secret|api[_ -]?key|(?:access|secret|private|signing|encryption)[_ -]?key(?:[_ -]id)?|"
    r"(?:access|auth|bearer|refresh|session|api)[_ -]?token|credentials?|passwort|kennwort|mot de passe|contrasena|senha|wachtwoord|пароль|密码)"
)
_PLAIN = (  # how "the password is ..." goes on where no password follows
    r"(?!(?:not|never|no|in|on|at|to|for|what|that|the|a|an|too|very|so|only|always|still|also|wrong|right|weak|strong|unknown|absent|empty|secret|"
    r"correct|valid|invalid|part|there|here|visible|private|public|plain|safe|unsafe|shown|known|given|short|long|old|new|\w{1,20}(?:ed|en|ing|ble|less))\b)"
)
_NAMED = re.compile(
    rf"(?i:(?<![a-z]){_CREDENTIAL}[\"'`]?\s{{0,4}}(?:=>|->|:=|[:=])\s{{0,4}}[\"'`]?[^\s\"'`<]{{4,}}|"
    rf"(?<![a-z]){_CREDENTIAL}\s(?:is|was|ist|lautet|est|es|будет)\s{{1,4}}(?:set to |now |simply )?(?:[\"'`]\S{{3,}}|"
    rf"{_PLAIN}[^\s\"'`.,;]{{4,}}\b[.!]|(?=[^\s\"']{{0,60}}[\d#$%^&*])[^\s\"']{{4,}})|\b(?:pass|pw)\s?[:=]\s?(?=\S{{0,40}}\d)\S{{6,}}|"
    r"\b(?:with|use|using|enter|type|give|by) (?:the )?(?:password|passphrase|token|api key|secret|pin)\s(?=[^\s\"']{0,60}\d)[^\s\"']{4,}|"
    r"\bpin(?: code)?(?: is|:| =)\s{0,3}\d{4,8}\b|\bauthorization\s{0,2}:\s{0,3}(?:basic|bearer)\s{1,3}\S{6,}|\bbearer\s(?=\S{0,60}\d)[\w.~+/-]{12,}|"
    r"(?<![a-z])[a-z0-9_]{0,30}(?:_key|_token|_secret|_pass|_pwd|_password)\s?=\s?[\"']?[^\s\"']{6,})"
)
_ENCODED = re.compile(
    r"[A-Za-z0-9+/]{41,}={0,2}|(?<![A-Za-z0-9+/=])(?=[a-z+/]{0,60}[A-Z0-9])[A-Za-z0-9+/]{14,}={1,2}(?![=\w])|(?:\\x[0-9a-fA-F]{2}){3,}|(?:\\u\{?[0-9a-fA-F]{4,6}\}?){3,}|"
    r"(?:%[0-9a-fA-F]{2}){4,}|(?:\b[01]{8}\b ?){4,}|(?:\b[0-9a-fA-F]{2} ){7,}[0-9a-fA-F]{2}\b"
)
_IDENTIFIER = re.compile(
    r"(?i:(?<![a-z0-9])(?:0x)?(?=[0-9]{0,40}[a-f])(?=[a-f]{0,40}\d)[0-9a-f]{8,}(?![a-z0-9]))|"
    r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]{0,60}\d)(?=[A-Za-z0-9]{0,60}[a-z])(?=[A-Za-z0-9]{0,60}[A-Z])[A-Za-z0-9]{20,}(?![A-Za-z0-9])|"
    r"(?<![A-Za-z0-9])(?=(?:[a-z]{0,40}\d){4})(?=[0-9]{0,40}[a-z])[a-z0-9]{20,}(?![A-Za-z0-9])|"
    r"(?<![A-Za-z0-9])(?=(?:[A-Z]{0,40}\d){4})(?=[0-9]{0,40}[A-Z])[A-Z0-9]{20,}(?![A-Za-z0-9])|"
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){4,7}\b"
)
_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SHORT_HUMPS = 3.5  # letters a hump on average: English words in capitals and paths have four and more, random ones two
_APART = re.compile(r"(?<!\w)(?:[^\W\d_][ ._*-]){7,}[^\W\d_](?!\w)")
_SPELLED_OUT = re.compile(r"(?<!\w)(?:[^\W\d_][ ._*-]){4,}[^\W\d_](?!\w)")
_LIST_MARK = re.compile(r"\n(?=[^\S\n]{0,40}(?:[-*\u2022#>]|\d{1,3}[.)])\s|\n)")
_HYPHEN = re.compile(r"(?<=[a-z])-\n\s{0,8}(?=[a-z])")
_SPACE = re.compile(r"[ \t\n]+")


def _by(*patterns: re.Pattern[str]) -> Finder:
    def find(text: str) -> Iterator[str]:
        return (match[0] for pattern in patterns for match in pattern.finditer(text))

    return find


def _addresses(text: str) -> Iterator[str]:
    yield from (match[0] for match in _ADDRESS.finditer(text))
    yield from hosts(text)


def _orders(text: str) -> Iterator[str]:
    for spelled in order_spellings(text):
        for pattern in _ORDERS:
            yield from (match[0] for match in pattern.finditer(spelled))


def _identifiers(text: str) -> Iterator[str]:
    yield from (match[0] for match in _IDENTIFIER.finditer(text))
    yield from (match[0] for match in _TOKEN.finditer(text) if _is_random(match[0]))


def _is_random(token: str) -> bool:
    """Tell whether small letters, capitals and digits alternate as no word and no path does."""
    humps = _HUMP.findall(token)
    kinds = {"0" if hump.isdigit() else "a" if hump[-1].islower() else "A" for hump in humps}
    return len(kinds) == 3 and sum(map(len, humps)) < _SHORT_HUMPS * len(humps)  # noqa: PLR2004 - each kind is there


def order_spellings(text: str) -> tuple[str, ...]:
    """Return the spellings in which a text is searched for orders, without repetition."""
    flat = one_line(text)
    return tuple(dict.fromkeys((flat, flat.replace("*", "").replace("_", " "), lettered(flat), _joined(flat))))


def one_line(text: str) -> str:
    r"""Put words that a line's end parts side by side; a list's items and paragraphs stay on lines of their own.

    >>> one_line("IGNORE\nprevious"), one_line("a\n- b")
    ('IGNORE previous', 'a\n- b')
    """
    parts = _LIST_MARK.split(_HYPHEN.sub("", text))
    return "\n".join(_SPACE.sub(" ", part) for part in parts)


def _joined(text: str) -> str:
    """Join words whose letters stand apart: "i g n o r e"."""
    return _SPELLED_OUT.sub(lambda match: re.sub(r"[ ._*-]", "", match[0]), text)


KINDS: tuple[tuple[str, Finder], ...] = (
    ("a web address", _addresses),
    ("an e-mail address", _by(re.compile(r"(?i:[\w.+-]{1,64}@(?!\dx\.)[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.[a-z]{2,})"))),
    (CODE, _by(re.compile(r"```|~~~"))),
    ("an order to ignore orders", _orders),
    ("a role marker", _by(_ROLE)),
    ("a placeholder", _by(re.compile(r"\{\s*\{"))),
    ("encoded text", _by(_ENCODED)),
    ("a secret", _by(_KEY, _NAMED)),
    ("a random identifier", _identifiers),
    ("letters set apart", _by(_APART)),
)
