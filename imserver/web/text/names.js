/**
 * How people and groups without a picture look: letters and a colour of their own.
 * @module
 */

const SEGMENTER = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/**
 * One or two letters.
 * @param {string} name
 */
export function initials(name) {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const first = letter(words[0] ?? '?');
  if (/\p{sc=Han}/u.test(first) || words.length < 2) return first.toLocaleUpperCase();
  return (first + letter(words[words.length - 1])).toLocaleUpperCase();
}

/** @param {string} word */
function letter(word) {
  for (const { segment } of SEGMENTER.segment(word.slice(0, 24))) return segment.slice(0, 12);
  return '?';
}

/**
 * One of eight colours, the same everywhere.
 * @param {string} id
 */
export function colour(id) {
  let hash = 7;
  for (let at = 0; at < id.length; at += 1) hash = (Math.imul(hash, 31) + id.charCodeAt(at)) >>> 0;
  return hash % 8;
}
