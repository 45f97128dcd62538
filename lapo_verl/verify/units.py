"""Units at the end or the beginning of a number."""

from __future__ import annotations

import re
from typing import Final

from lapo_verl.verify.normalize import without_text_marks

# Spellings of a unit, the first one its name. A unit that is not listed is taken for a counted thing ("12 apples").
_UNITS: Final = """
    dollar, dollars, usd, us dollars, bucks | cent, cents, ¢ | euro, euros, eur | pound sterling, gbp | yen, ¥ |
    rupee, rupees, ₹ | degree, degrees, deg | radian, radians, rad | meter, meters, metre, metres, m |
    centimeter, centimeters, centimetre, centimetres, cm | millimeter, millimeters, millimetre, millimetres, mm |
    kilometer, kilometers, kilometre, kilometres, km | inch, inches, in | foot, feet, ft | yard, yards, yd, yds |
    mile, miles, mi | gram, grams, g | kilogram, kilograms, kg, kgs | milligram, milligrams, mg |
    pound, pounds, lb, lbs | ounce, ounces, oz | ton, tons, tonne, tonnes | liter, liters, litre, litres, l |
    milliliter, milliliters, millilitre, millilitres, ml | gallon, gallons, gal | second, seconds, sec, secs, s |
    minute, minutes, min, mins | hour, hours, hr, hrs, h | day, days | week, weeks | month, months |
    year, years, yr, yrs | unit, units | kelvin, kelvins, K | mph, miles per hour, miles/hour, mi/h |
    km/h, kmh, kph, kilometers per hour, kilometres per hour |
    m/s, meters per second, metres per second, meters/second |
    square m/s, m/s^2, m/s², meters per second squared, metres per second squared
"""
_UNIT_NAME: Final = {
    spelling: names[0] for names in (unit.strip().split(", ") for unit in _UNITS.split("|")) for spelling in names
}
_SYMBOL_UNIT: Final = dict(zip("¢¥₹€£", ("cent", "yen", "rupee", "euro", "pound sterling"), strict=True))
_SYMBOL_UNIT.update({"\\dollar": "dollar", "\\degree": "degree"})
# Words that change the value, so they are no unit: "5 million", "5 or more", "5 times".
_NO_UNIT: Final = """
        hundred thousand million billion trillion dozen half third quarter times plus minus over squared cubed or and
        more less fewer than least most about not no none if mod modulo is are to from where factorial point the
        infinity sqrt pi k tens tenths hundredths thousandths hundreds thousands millions billions trillions squares
        approximately approx around roughly nearly almost wrong incorrect false"""
_SCALE: Final = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_LEADING: Final = re.compile(r"([+-]?)(\\dollar|€|£|¥|₹|USD|US\\dollar) ?(.+)")
_TAIL_SYMBOL: Final = re.compile(r"(.*?[^ ]) ?(\\dollar|[€£¢¥₹]|\\degree)(?: ?\\?(?:text\{)?([CF])\}?)?")
_BASES: Final = re.findall(r"\w+", "zero one two three four five six seven eight nine ten eleven twelve")
_TAIL_BASE: Final = re.compile(rf"(-?[0-9.]+)_\{{?(?:\\text ?\{{)?\(?([0-9]{{1,2}}|{'|'.join(_BASES)})\)?\}}*")
_TAIL_TEXT: Final = re.compile(r"(.*[^ ^_]) ?\\text ?\{([^{}]*)\}(?:\^\{?([23])\}?)?")
_TAIL_WORDS: Final = re.compile(r"(.*[0-9)}])( ?)([A-Za-z][A-Za-z./ -]*)(?:\^\{?([23])\}?)?")
_WORDS_OF_UNIT: Final = re.compile(r"[A-Za-z][A-Za-z./'-]*(?: [A-Za-z][A-Za-z./'-]*){0,4}")


def _unit_name(words: str, power: str | None) -> str | None:
    """The unit's name; "" for a counted thing; None where the words are no unit."""
    words = words.strip().rstrip(".").strip()
    if not words and not power:
        return ""
    lowered = words.lower()
    dimension = {"2": "square ", "3": "cubic "}.get(power or "", "")
    for prefix, of in (("square ", "square "), ("sq. ", "square "), ("sq ", "square "), ("cubic ", "cubic ")):
        if lowered.startswith(prefix):
            dimension, lowered = of, lowered[len(prefix) :]
            break
    known = _UNIT_NAME.get(words) or _UNIT_NAME.get(lowered)
    if known:
        return dimension + known
    if not _WORDS_OF_UNIT.fullmatch(words) or not set(_NO_UNIT.split()).isdisjoint(re.split(r"[ -]", lowered)):
        return None
    return ""


def split_unit(text: str) -> tuple[str, str | None, int]:
    """(what is left, unit or None, factor): ``5\\text{ million dollars}`` is ``5``, dollar, a million."""
    unit: str | None = None
    if match := _LEADING.fullmatch(text):
        unit = _SYMBOL_UNIT.get(match[2], "dollar")
        text = match[1] + match[3]
    if match := _TAIL_SYMBOL.fullmatch(text):
        symbol = _SYMBOL_UNIT[match[2]] + (match[3] or "")
        # "30°C" has its own unit; an angle in degrees within an expression (\sin 30°) is not a unit of the whole.
        if not re.search(r"\\(?:sin|cos|tan|sec|csc|cot|ln|log)", match[1]):
            return match[1], symbol, 1
    if match := _TAIL_BASE.fullmatch(text):
        return match[1], f"base {_BASES.index(match[2]) if match[2] in _BASES else match[2]}", 1
    for pattern, words_at in ((_TAIL_TEXT, 2), (_TAIL_WORDS, 3)):
        match = pattern.fullmatch(text)
        if match is None:
            continue
        head, words, power = match[1], match[words_at].strip(), match[match.re.groups]
        factor = 1
        first, _, others = words.partition(" ")
        if first.lower() in _SCALE:
            factor, words = _SCALE[first.lower()], others.strip()
        name = _unit_name(words, power)
        if name is None:
            continue
        if pattern is _TAIL_WORDS and not name and words and (match[2] == "" or len(words) < 3):
            continue  # "12ab" and "5 x" are products
        if pattern is _TAIL_WORDS and name and len(words) == 1 and match[2] == "":
            continue  # "5m" is five times m, "5 m" may be metres
        return head, unit or name or None, factor
    return text, unit, 1


_JOINT: Final = re.compile(r"(?:,| and )")
_MEASURE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")


def compound_measure(text: str) -> str | None:
    """One spelling for ``2\\text{ hours and }30\\text{ minutes}``; None where the text is no such thing."""
    plain = _JOINT.sub(" ", without_text_marks(text))
    measures = _MEASURE.findall(plain)
    if len(measures) < 2 or _MEASURE.sub("", plain).strip():
        return None
    names = [_UNIT_NAME.get(word) or _UNIT_NAME.get(word.lower()) for _, word in measures]
    if None in names:
        return None
    return " ".join(f"{number} {name}" for (number, _), name in zip(measures, names, strict=True))
