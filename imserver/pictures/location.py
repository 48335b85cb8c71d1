"""Taking the place where a picture was taken out of its file, and nothing else.

The picture itself is not touched: the bytes that name the place are overwritten where they stand,
in JPEG, PNG, WebP and HEIC. So sizes and offsets stay, and only PNG's checksums are written anew.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

_GPS_POINTER: Final = 0x8825  # EXIF 2.3, section 4.6.3
_TYPE_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_MOST_ENTRIES: Final = 1000
_TIFF: Final = re.compile(rb"Exif\0\0(?=II\x2a\0|MM\0\x2a)")
_XMP: Final = re.compile(
    rb"""(?s)(?:exif:GPS\w+\s*=\s*(?:"([^"]*)"|'([^']*)')|<exif:GPS(\w+)[^>]*>(.*?)</exif:GPS\3>)"""
)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
_PNG_PROFILES: Final = (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")


def strip_location(data: bytearray) -> bool:
    """Overwrite the place in a file's bytes; says whether there was one."""
    if data.startswith(_PNG):
        return _strip_png(data)
    stripped = False
    for found in list(_TIFF.finditer(data)):
        stripped |= _strip_tiff(data, found.end(), len(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        for begin, end in _riff_chunks(data, b"EXIF"):
            stripped |= _strip_tiff(data, begin, end)
    return _strip_xmp(data, 0, len(data)) or stripped


def _riff_chunks(data: bytearray, wanted: bytes) -> list[tuple[int, int]]:
    chunks, place = [], 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == wanted:
            chunks.append((place + 8, min(place + 8 + size, len(data))))
        place += 8 + size + (size & 1)
    return chunks


def _strip_tiff(data: bytearray, start: int, end: int) -> bool:
    order = bytes(data[start : start + 2])
    if order not in (b"II", b"MM"):
        return False
    byteorder: Final = "little" if order == b"II" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], byteorder)

    def entries(directory: int) -> list[int]:
        count = min(number(directory, 2), _MOST_ENTRIES)
        return [e for i in range(count) if (e := directory + 2 + 12 * i) + 12 <= end]

    stripped = False
    for entry in entries(start + number(start + 4, 4)):
        if number(entry, 2) != _GPS_POINTER:
            continue
        directory = start + number(entry + 8, 4)
        for tag in entries(directory):
            stripped = True
            size = _TYPE_SIZES.get(number(tag + 2, 2), 1) * number(tag + 4, 4)
            value = start + number(tag + 8, 4)
            if size > 4 and value + size <= end:
                data[value : value + size] = bytes(size)
            data[tag : tag + 12] = bytes(12)
        if stripped:
            data[directory : directory + 2] = bytes(2)  # it has no entries now
    return stripped


def _strip_xmp(data: bytearray, start: int, end: int) -> bool:
    stripped = False
    for found in list(_XMP.finditer(data, start, end)):
        for group in (1, 2, 4):
            if found[group] and found[group].strip():
                begin, finish = found.span(group)
                data[begin:finish] = b" " * (finish - begin)
                stripped = True
    return stripped


def _strip_png(data: bytearray) -> bool:
    stripped, place = False, len(_PNG)
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        kind, begin = bytes(data[place + 4 : place + 8]), place + 8
        end = begin + size
        if end + 4 > len(data):
            break
        changed = False
        if kind == b"eXIf":
            changed = _strip_tiff(data, begin, end)
        elif kind in _PNG_TEXTS:
            changed = _strip_xmp(data, begin, end)
            key = bytes(data[begin:end]).partition(b"\0")[0]
            if (
                not changed
                and key in _PNG_PROFILES
                and (kind != b"iTXt" or data[begin + len(key) + 1])
            ):
                # Packed: whether the place is in it is not worth looking for. It is emptied.
                packed = kind == b"zTXt"
                rest = end - begin - len(key) - 1
                empty = (b"\0" + zlib.compress(b"") if packed else b"").ljust(rest, b"\0")
                data[begin + len(key) + 1 : end] = empty[:rest]
                changed = True
        if changed:
            data[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
            stripped = True
        place = end + 4
    return stripped
