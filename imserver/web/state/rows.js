/**
 * What a timeline shows: messages grouped, with a line where a day begins and where the unread do.
 * @module
 */

import { placeOf } from '../sdk/places.js';

/** @typedef {import('../sdk/shapes.js').Message} Message */
/** @typedef {import('../sdk/sends.js').Send} Send */

/**
 * @typedef {{id: string, kind: 'day', at: number}
 *   | {id: string, kind: 'unread'}
 *   | {id: string, kind: 'system', message: Message}
 *   | {id: string, kind: 'message', message: Message, first: boolean, last: boolean}
 *   | {id: string, kind: 'send', send: Send, first: boolean, last: boolean}} Row
 */

const TOGETHER = 5 * 60_000; // messages of one sender within this time stand together

/**
 * The day of a time, in the reader's time zone.
 * @param {number} at
 */
export function dayOf(at) {
  const date = new Date(at);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

/**
 * @param {readonly Message[]} messages
 * @param {readonly Send[]} sends
 * @param {string} me
 * @param {number} unreadFrom the place after which the unread begin; Infinity: no line
 * @returns {Row[]}
 */
export function rowsOf(messages, sends, me, unreadFrom) {
  /** @type {Row[]} */
  const rows = [];
  let day = '';
  let [dayBegins, dayEnds] = [Infinity, -Infinity];
  let lineDrawn = false;
  /** @type {Message | null} */
  let before = null;
  for (const message of messages) {
    let apart = false;
    const at = message.timestamp;
    let today = day;
    if (at < dayBegins || at >= dayEnds) { // dates cost much, and most messages are of the day before
      today = dayOf(at);
      const date = new Date(at);
      dayBegins = new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
      dayEnds = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime();
    }
    if (today !== day) {
      rows.push({ id: `day:${today}:${message.id}`, kind: 'day', at });
      day = today;
      apart = true;
    }
    const fresh = unreadFrom < Infinity && !lineDrawn && placeOf(message.id) > unreadFrom && message.sender_id !== me && message.type !== 'system';
    if (fresh) {
      rows.push({ id: 'unread', kind: 'unread' });
      lineDrawn = apart = true;
    }
    if (message.type === 'system') {
      rows.push({ id: message.id, kind: 'system', message });
      before = null;
      continue;
    }
    const joins =
      !apart && before !== null && before.sender_id === message.sender_id &&
      message.timestamp - before.timestamp < TOGETHER;
    rows.push({ id: message.id, kind: 'message', message, first: !joins, last: false });
    before = message;
  }
  let joins = before !== null && before.sender_id === me;
  for (const send of sends) {
    rows.push({ id: `send:${send.client_msg_id}`, kind: 'send', send, first: !joins, last: false });
    joins = true;
  }
  rows.forEach((row, at) => {
    if (row.kind !== 'message' && row.kind !== 'send') return;
    const next = rows[at + 1];
    row.last = !next || !('first' in next) || next.first;
  });
  return rows;
}
