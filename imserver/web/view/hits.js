/**
 * Messages that were found, below the conversations that match.
 * @module
 */

import { shortTime, t } from '../i18n/texts.js';
import { keyOf } from '../state/conversations.js';
import { avatar } from './avatar.js';
import { el, put } from './dom.js';

const PAUSE = 250; // milliseconds without a key before the server is asked
const BEFORE = 30; // characters shown before the first match
const SHOWN = 120;

/** @typedef {{message: import('../sdk/shapes.js').Message, ranges: [number, number][]}} Hit */

/**
 * @param {import('../state/engine.js').Engine} engine
 * @param {object} actions
 * @param {(key: string, id: string) => void} actions.openAt
 * @param {() => void} actions.changed something else is shown now
 */
export function hits(engine, { openAt, changed }) {
  const element = el('section', { className: 'hits', hidden: true, 'aria-label': t('messages') });
  let wanted = '';
  let timer = 0;

  /** @param {Hit} hit */
  const draw = ({ message, ranges }) => {
    const key = keyOf(engine.state.me, message);
    const name = engine.nameOf(key, t('notes'));
    const who = message.group_id ? `${message.sender_id}: ` : '';
    return el('button', { type: 'button', className: 'hit', onclick: () => openAt(key, message.id) },
      avatar(key, name), el('span', { className: 'row-name' }, el('bdi', {}, name)),
      el('span', { className: 'row-time' }, shortTime(message.timestamp, Date.now())),
      el('span', { className: 'row-text' }, who, el('bdi', {}, ...excerpt(message.content, ranges))));
  };

  const ask = async () => {
    const asked = wanted;
    const answer = await engine.search(asked).catch(() => null);
    if (asked !== wanted) return; // somebody typed on
    const found = answer?.hits ?? [];
    element.hidden = found.length === 0;
    put(element, el('h2', {}, t('messages')), ...found.map(draw));
    changed();
  };

  return {
    element,
    /** @param {string} words */
    search(words) {
      clearTimeout(timer);
      if (words === wanted) return;
      wanted = words;
      element.hidden = true;
      if (words) timer = window.setTimeout(() => void ask(), PAUSE);
    },
  };
}

/**
 * The part of a text where the words are, with the words marked.
 * @param {string} text
 * @param {[number, number][]} ranges
 * @returns {(string | HTMLElement)[]}
 */
function excerpt(text, ranges) {
  const from = Math.max(0, (ranges[0]?.[0] ?? 0) - BEFORE);
  const to = Math.min(text.length, from + SHOWN);
  /** @type {(string | HTMLElement)[]} */
  const parts = from > 0 ? ['…'] : [];
  let at = from;
  for (const [start, end] of ranges) {
    if (start < at || end > to) continue;
    parts.push(text.slice(at, start), el('mark', {}, text.slice(start, end)));
    at = end;
  }
  parts.push(text.slice(at, to));
  return parts;
}
