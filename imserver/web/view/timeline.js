/**
 * The messages of one conversation.
 *
 * Laws:
 *
 * - A window of rows is in the page, not the whole conversation: scrolling moves the window.
 * - What the reader looks at does not move when something is put in above it: the first row in sight is
 *   measured before and after. Whoever is at the bottom stays there.
 * - Read is what was in sight of somebody who could see it: the page visible and focused, at the
 *   bottom, and nothing lying over it.
 * @module
 */

import { dayName, t } from '../i18n/texts.js';
import { keyOf } from '../state/conversations.js';
import { rowsOf } from '../state/rows.js';
import { el, icon, list, put } from './dom.js';
import { eventText, messageRow } from './message.js';

/** @typedef {import('../state/rows.js').Row} Row */

const WINDOW = 120; // rows in the page
const STEP = 60; // rows by which it moves
const NEAR = 600; // pixels from an end at which it moves
const BOTTOM = 40; // pixels from the bottom that still count as there

/**
 * @param {import('../state/engine.js').Engine} engine
 * @param {string} key
 * @param {(anchor: HTMLElement, row: Row) => void} actions
 */
export function timeline(engine, key, actions) {
  const { me } = engine.state;
  const rows = el('div', { className: 'messages', role: 'log', 'aria-live': 'polite', 'aria-relevant': 'additions', 'aria-label': t('new_messages') });
  const scroller = el('div', { className: 'scroller', tabIndex: 0, role: 'region', 'aria-label': t('new_messages') }, rows);
  const badge = el('span', { className: 'count' });
  const down = el('button', { type: 'button', className: 'to-bottom', 'aria-label': t('to_bottom'), title: t('to_bottom'), hidden: true, onclick: () => toBottom() }, icon('down'), badge);
  const element = el('div', { className: 'timeline' }, scroller, down);

  const first = engine.state.talks.get(key);
  let unreadFrom = first?.unread ? first.read : Infinity;
  /** @type {Row[]} */
  let all = [];
  let from = 0; // the window
  let to = 0;
  let placed = false; // the first place was found
  let atBottom = true;
  let loading = false;
  let seen = 0; // rows there were when the bottom was last in sight
  /** @type {WeakMap<HTMLElement, Row>} */
  const drawn = new WeakMap();
  let stamp = '';

  /** @param {Row} row @param {HTMLElement | undefined} old */
  const drawRow = (row, old) => {
    const before = old && drawn.get(old);
    if (old && before && isSame(before, row) && old.dataset.stamp === stampOf(row)) return old;
    const made = makeRow(row);
    made.dataset.stamp = stampOf(row);
    drawn.set(made, row);
    return made;
  };

  /** What a row shows besides itself. @param {Row} row */
  const stampOf = (row) => (row.kind === 'day' ? new Date().toDateString() : row.kind === 'message' && row.message.sender_id === me ? stamp : '');

  /** @param {Row} row */
  const makeRow = (row) => {
    if (row.kind === 'day') return el('div', { className: 'day' }, el('span', {}, dayName(row.at, Date.now())));
    if (row.kind === 'unread') return el('div', { className: 'unread-line', role: 'separator' }, el('span', {}, t('unread_line')));
    if (row.kind === 'system') return el('div', { className: 'event', dir: 'auto' }, eventText(row.message));
    const talk = engine.state.talks.get(key);
    if (!talk) return el('div');
    return messageRow(row, { talk, me, actions: (anchor) => actions(anchor, row) });
  };

  /** Put the window's rows into the page, and keep in place what is looked at. */
  const draw = () => {
    const anchor = atBottom && placed ? null : firstInSight();
    const offset = anchor?.getBoundingClientRect().top ?? 0;
    list(rows, all.slice(from, to), (row) => row.id, drawRow);
    if (!placed) return;
    if (anchor?.isConnected) scroller.scrollTop += anchor.getBoundingClientRect().top - offset;
    else if (atBottom && to === all.length) scroller.scrollTop = scroller.scrollHeight;
  };

  const firstInSight = () => {
    const { top } = scroller.getBoundingClientRect();
    for (const child of rows.children) {
      if (child.getBoundingClientRect().bottom > top) return child;
    }
    return null;
  };

  const toBottom = () => {
    to = all.length;
    from = Math.max(0, to - WINDOW);
    atBottom = true;
    draw();
    scroller.scrollTop = scroller.scrollHeight;
    look();
  };

  const follow = () => {
    const line = engine.state.timelines.get(key);
    if (!line) return;
    const sends = engine.state.sends.filter((send) => keyOf(me, send.request) === key);
    const talk = engine.state.talks.get(key);
    stamp = `${talk?.peerRead}:${talk?.peerDelivered}`;
    const [oldTop, oldCount] = [all[from]?.id, all.length];
    all = rowsOf(line.messages, sends, me, unreadFrom);
    const wasAtEnd = to === oldCount;
    const moved = oldTop === undefined ? -1 : all.findIndex((row) => row.id === oldTop);
    if (!placed || atBottom || moved < 0) {
      to = all.length;
      from = Math.max(0, to - WINDOW);
    } else {
      from = moved;
      to = wasAtEnd ? all.length : Math.min(all.length, from + (to - from));
    }
    put(empty, ...(all.length || line.hasOlder ? [] : [t('empty_chat')]));
    draw();
    if (!placed && all.length) place();
    look();
  };

  /** Begin at the first unread, or at the bottom. */
  const place = () => {
    placed = true;
    const at = all.findIndex((row) => row.kind === 'unread');
    if (at >= 0 && at < from) {
      from = Math.max(0, at - STEP);
      to = Math.min(all.length, from + WINDOW);
      draw();
    }
    const line = rows.querySelector('.unread-line');
    scroller.scrollTop = scroller.scrollHeight;
    if (line) {
      const gap = line.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
      if (gap < 0) scroller.scrollTop += gap - 60;
    }
    atBottom = to === all.length && scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop < BOTTOM;
  };

  /** Show a message, and point at it. @param {string} id */
  const jumpTo = async (id) => {
    if (!(await engine.loadTo(key, id))) return;
    follow();
    const at = all.findIndex((row) => row.id === id);
    if (at < 0) return;
    placed = true;
    atBottom = false;
    from = Math.max(0, at - STEP);
    to = Math.min(all.length, from + WINDOW);
    draw();
    const row = [...rows.children].find((child) => child instanceof HTMLElement && child.dataset.key === id);
    row?.scrollIntoView({ block: 'center' });
    row?.classList.add('pointed');
    setTimeout(() => row?.classList.remove('pointed'), 2500);
  };

  const onscroll = () => {
    if (!placed) return;
    const below = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
    atBottom = to === all.length && below < BOTTOM;
    if (scroller.scrollTop < NEAR && from > 0) {
      from = Math.max(0, from - STEP);
      to = Math.min(all.length, Math.max(from + WINDOW, to - STEP));
      draw();
    } else if (below < NEAR && to < all.length) {
      to = Math.min(all.length, to + STEP);
      from = Math.max(0, Math.min(to - WINDOW, from + STEP));
      draw();
    } else if (scroller.scrollTop < NEAR && from === 0) {
      void older();
    }
    look();
  };

  const older = async () => {
    if (loading || !engine.state.timelines.get(key)?.hasOlder) return;
    loading = true;
    await engine.loadOlder(key).catch(() => {});
    loading = false;
  };

  /** What is in sight of a reader is read. */
  const look = () => {
    const covered = document.querySelector('dialog[open]') !== null;
    const watched = document.visibilityState === 'visible' && document.hasFocus() && !covered;
    if (atBottom && watched && placed) {
      seen = all.length;
      engine.markRead(key);
    }
    const fresh = all.slice(seen).filter((row) => row.kind === 'message' && row.message.sender_id !== me).length;
    down.hidden = atBottom;
    badge.hidden = fresh === 0;
    badge.textContent = String(fresh);
  };

  const empty = el('p', { className: 'empty-chat' });
  scroller.prepend(empty);
  scroller.addEventListener('scroll', onscroll, { passive: true });
  const resized = new ResizeObserver(() => {
    if (atBottom && placed) scroller.scrollTop = scroller.scrollHeight;
  });
  resized.observe(scroller);
  resized.observe(rows);
  const controller = new AbortController();
  for (const name of ['focus', 'visibilitychange']) {
    (name === 'focus' ? window : document).addEventListener(name, look, { signal: controller.signal });
  }
  document.addEventListener('close', look, { capture: true, signal: controller.signal }); // of a dialog
  const midnight = setInterval(draw, 60_000); // days have other names after midnight
  const unsubscribe = engine.store.subscribe((state, before) => {
    const changed = state.timelines.get(key) !== before.timelines.get(key) || state.sends !== before.sends ||
      state.talks.get(key) !== before.talks.get(key);
    if (changed || state === before) follow();
    else look();
  });
  void engine.openTalk(key);

  return {
    element,
    toBottom,
    jumpTo,
    focus: () => scroller.focus(),
    /** @param {number} pages */
    scrollBy: (pages) => scroller.scrollBy({ top: pages * scroller.clientHeight * 0.9 }),
    close() {
      unsubscribe();
      controller.abort();
      resized.disconnect();
      clearInterval(midnight);
      unreadFrom = Infinity;
    },
  };
}

/** @param {Row} a @param {Row} b */
function isSame(a, b) {
  if (a.kind !== b.kind) return false;
  if (a.kind === 'message' && b.kind === 'message') return a.message === b.message && a.first === b.first && a.last === b.last;
  if (a.kind === 'send' && b.kind === 'send') return a.send === b.send && a.first === b.first && a.last === b.last;
  return a.kind !== 'system' || b.kind !== 'system' || a.message === b.message;
}
