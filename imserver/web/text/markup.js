/**
 * Light markup: *bold*, _italic_, ~strike~, `code`, ```blocks```, > quotes, - lists. Linear in the
 * length of the text; above `PLAIN` characters it is left as it is.
 * @module
 */

import { linkify } from './links.js';

export const PLAIN = 20_000;

/**
 * @typedef {{kind: 'text', text: string}
 *   | {kind: 'link', text: string, href: string}
 *   | {kind: 'code', text: string}
 *   | {kind: 'strong' | 'em' | 's', children: Inline[]}} Inline
 */
/**
 * @typedef {{kind: 'lines', children: Inline[]}
 *   | {kind: 'pre', text: string}
 *   | {kind: 'quote', children: Inline[]}
 *   | {kind: 'list', items: Inline[][]}} Block
 */

const MARKS = /** @type {const} */ ({ '*': 'strong', _: 'em', '~': 's' });
const WORD = /[\p{L}\p{N}]/u;
const HAN = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]/u;

/** @param {string} text @returns {Block[]} */
export function parse(text) {
  if (text.length > PLAIN) return [{ kind: 'lines', children: [{ kind: 'text', text }] }];
  /** @type {Block[]} */
  const blocks = [];
  const lines = text.split('\n');
  /** @type {string[]} */
  let plain = [];
  const flush = () => {
    if (plain.length) blocks.push({ kind: 'lines', children: inline(plain.join('\n')) });
    plain = [];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    if (line.startsWith('```')) {
      const end = lines.indexOf('```', at + 1);
      const one = /^```(.+)```$/.exec(line);
      if (one || end > 0) {
        flush();
        blocks.push({ kind: 'pre', text: one ? one[1] : lines.slice(at + 1, end).join('\n') });
        if (!one) at = end;
        continue;
      }
    }
    if (/^> ?\S/.test(line)) {
      flush();
      const quoted = [];
      for (; at < lines.length && lines[at].startsWith('>'); at += 1) quoted.push(lines[at].replace(/^> ?/, ''));
      at -= 1;
      blocks.push({ kind: 'quote', children: inline(quoted.join('\n')) });
    } else if (/^[-•] \S/.test(line)) {
      flush();
      const items = [];
      for (; at < lines.length && /^[-•] \S/.test(lines[at]); at += 1) items.push(inline(lines[at].slice(2)));
      at -= 1;
      blocks.push({ kind: 'list', items });
    } else {
      plain.push(line);
    }
  }
  flush();
  return blocks;
}

/** @param {string} text @returns {Inline[]} */
export function inline(text) {
  /** @type {Inline[]} */
  const done = [];
  for (const piece of linkify(text)) {
    if (piece.href) done.push({ kind: 'link', text: piece.text, href: piece.href });
    else marks(piece.text, done);
  }
  return done;
}

/**
 * @param {string} text
 * @param {Inline[]} into
 */
function marks(text, into) {
  const ends = closers(text);
  let plain = 0;
  /** @param {number} end */
  const flush = (end) => {
    if (end > plain) into.push({ kind: 'text', text: text.slice(plain, end) });
  };
  for (let at = 0; at < text.length; at += 1) {
    const end = ends.get(at);
    if (end === undefined) continue;
    flush(at);
    const inside = text.slice(at + 1, end);
    if (text[at] === '`') {
      into.push({ kind: 'code', text: inside });
    } else {
      /** @type {Inline[]} */
      const children = [];
      const rest = inside.replaceAll(text[at], '') === inside ? inside : null;
      if (rest === null) children.push({ kind: 'text', text: inside });
      else marks(rest, children);
      into.push({ kind: MARKS[/** @type {'*'} */ (text[at])], children });
    }
    at = end;
    plain = end + 1;
  }
  flush(text.length);
}

/**
 * Which mark at which index is closed where. One pass: the latest open one of each kind is kept.
 * @param {string} text
 * @returns {Map<number, number>}
 */
function closers(text) {
  /** @type {Map<number, number>} */
  const ends = new Map();
  /** @type {Record<string, number>} */
  const open = {};
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '\n') {
      for (const mark in open) delete open[mark];
      continue;
    }
    if (char !== '`' && !(char in MARKS)) continue;
    const before = text[at - 1] ?? ' ';
    const after = text[at + 1] ?? ' ';
    if (open[char] !== undefined) {
      const closes = char === '`' || (!/\s/.test(before) && !glued(after));
      if (closes && at > open[char] + 1) {
        ends.set(open[char], at);
        delete open[char];
        if (char === '`') for (const mark in open) delete open[mark];
        continue;
      }
    }
    if (!/\s/.test(after) && (char === '`' || !glued(before)) && open['`'] === undefined) open[char] = at;
  }
  return ends;
}

/** Whether a character makes a mark part of a word, as in `snake_case` and `2*3`. @param {string} char */
function glued(char) {
  return WORD.test(char) && !HAN.test(char);
}
