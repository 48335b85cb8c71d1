/**
 * Links in plain text, also between Chinese punctuation. One pass, no backtracking.
 * @module
 */

/** @typedef {{text: string, href?: string}} Piece */

const START = /https?:\/\/|www\.(?=[a-z0-9])/gi;
// Where an address ends: white space, quotes, brackets, and the punctuation of Chinese and Japanese.
const END = /[\s<>"“”‘’«»`\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u0000-\u001f\u202a-\u202e\u2066-\u2069]/;
const TRAILING = /[.,;:!?'*_~]/;
const MOST = 2048;

/**
 * @param {string} text
 * @returns {Piece[]}
 */
export function linkify(text) {
  /** @type {Piece[]} */
  const pieces = [];
  let done = 0;
  START.lastIndex = 0;
  for (let found = START.exec(text); found; found = START.exec(text)) {
    const begin = found.index;
    if (begin < done) continue;
    if (begin > 0 && /[a-z0-9@/]/i.test(text[begin - 1])) continue;
    const end = endOf(text, begin);
    const address = text.slice(begin, end);
    const href = hrefOf(address);
    if (!href) continue;
    if (begin > done) pieces.push({ text: text.slice(done, begin) });
    pieces.push({ text: address, href });
    done = end;
    START.lastIndex = end;
  }
  if (done < text.length) pieces.push({ text: text.slice(done) });
  return pieces;
}

/**
 * @param {string} text
 * @param {number} begin
 */
function endOf(text, begin) {
  let end = begin;
  /** @type {Record<string, number>} */
  const open = { ')': 0, ']': 0, '}': 0 };
  const pairs = { '(': ')', '[': ']', '{': '}' };
  const limit = Math.min(text.length, begin + MOST);
  for (; end < limit && !END.test(text[end]); end += 1) {
    const char = text[end];
    if (char in pairs) open[pairs[/** @type {'('} */ (char)]] += 1;
    else if (char in open && --open[char] < 0) break; // it was opened before the address
  }
  while (end > begin && TRAILING.test(text[end - 1])) end -= 1;
  return end;
}

/** @param {string} address */
function hrefOf(address) {
  const full = /^www\./i.test(address) ? `https://${address}` : address;
  try {
    const url = new URL(full);
    return url.hostname && !url.username ? url.href : null;
  } catch {
    return null;
  }
}
