/**
 * What reaches the program: each message once, in the server's order. No I/O.
 *
 * Laws:
 *
 * - `position` only grows (except after `restart`). Everything that the user may see up to it has
 *   been handed out or waits in `ready`. So an event is taken exactly when its place is beyond it.
 * - A push may be taken only when nothing before it can be missing. After a connection begins, or
 *   after a push found no room, that is not so: `behind` is true, pushes wait in `waiting`, and
 *   pages of sync are taken until one says that it is the last. The pushes that waited follow it.
 * - Both queues are bounded by `most` and one page. A push without room in `ready` puts the client
 *   behind; one without room in `waiting` empties that, and the next page holds what was dropped.
 * - Changes (edits, recalls, reactions, pins) have places in the same order and go the same way.
 * @module
 */

import { NOWHERE, idOf, placeOf, versionOf } from './places.js';

/** @typedef {import('./shapes.js').Message} Message */
/** @typedef {import('./shapes.js').Change} Change */
/** @typedef {import('./shapes.js').SyncPage} SyncPage */

/**
 * @typedef {{type: 'message', message: Message}
 *   | {type: 'changed', message: Message, change?: Change}
 *   | {type: 'push', name: string, data: any}
 *   | {type: 'gap', restored: boolean, oldest?: string}
 * } SyncEvent
 */

/** @typedef {{place: number, event: SyncEvent}} Item  `place` is 0 where an event has none */

export const PAGE = 200;

export class Catchup {
  /**
   * @param {object} options
   * @param {string | null} [options.cursor] where to go on
   * @param {'beginning' | 'unread' | 'now'} [options.start] where to begin without a cursor
   * @param {number} [options.most] how many events may wait
   * @param {string} [options.userId] whose messages these are
   */
  constructor({ cursor = null, start = 'unread', most = 1000, userId = '' } = {}) {
    this.most = most;
    this.userId = userId;
    this.start = start;
    /** @type {Item[]} */
    this.ready = [];
    /** @type {Item[]} */
    this.waiting = [];
    this.overflowed = false;
    this.position = cursor === null ? NOWHERE : placeOf(cursor);
    this.delivered = this.position; // as far as `take` has handed out
    this.anchor = NOWHERE; // up to here only what is not acknowledged is wanted
    this.behind = true;
    this.gapTold = false;
    if (cursor === null && start === 'beginning') this.position = this.delivered = 0;
  }

  /** Where to go on after a restart; null before it is known. */
  get cursor() {
    return this.delivered === NOWHERE ? null : idOf(this.delivered);
  }

  /** Whether another page may be asked for. */
  get hasRoom() {
    return this.ready.length <= this.most / 2;
  }

  // -- from the connection --------------------------------------------------------------------

  /** The stream of pushes is broken: what follows is to be asked for. */
  disconnect() {
    this.waiting = [];
    this.overflowed = this.gapTold = false;
    this.behind = true;
  }

  /**
   * Take a push.
   * @param {string} name the frame's type
   * @param {any} data
   * @param {string} [id] the frame's `message_id`
   */
  push(name, data, id) {
    const item = itemOf(name, data, id);
    if (this.behind) {
      this.#wait(item);
    } else if (item.place === 0) {
      if (this.ready.length < this.most) this.ready.push(item);
    } else if (item.place > this.position) {
      if (this.ready.length >= this.most) {
        this.behind = true;
        this.#wait(item);
      } else {
        this.position = item.place;
        this.ready.push(item);
      }
    }
  }

  // -- to and from sync -----------------------------------------------------------------------

  /**
   * The request for the next page; to be called right before it is sent.
   * @returns {Record<string, unknown>}
   */
  ask() {
    this.overflowed = false;
    if (this.position !== NOWHERE) {
      return {
        last_message_id: idOf(this.position),
        limit: PAGE,
        include_own: true,
        include_changes: true,
      };
    }
    const limit = this.start === 'now' ? 1 : PAGE;
    return { limit, include_newest: true, include_changes: true };
  }

  /**
   * Take the answer to the last `ask`.
   * @param {SyncPage} page
   */
  take(page) {
    if (this.position === NOWHERE) {
      this.anchor = Math.max(0, placeOf(page.newest_message_id));
      if (this.start === 'now') {
        this.position = this.delivered = this.anchor;
        this.anchor = NOWHERE;
        return; // the next page says whether there is more by now
      }
    }
    if (page.gap && !this.gapTold) {
      this.gapTold = true; // later pages say it of themselves as well
      this.#append(0, { type: 'gap', restored: false, oldest: page.oldest_message_id });
    }
    for (const id of page.failed ?? []) {
      const data = { message_id: id, status: 'failed', user_id: 'system', timestamp: 0 };
      this.#append(0, { type: 'push', name: 'message_status', data });
    }
    for (const item of inOrder(page)) this.#takeFromPage(item);
    // A page of changes alone, or of nothing that is new here, still moves on.
    const end = placeOf(page.cursor);
    if (end > this.position) this.#pass(end);
    if (page.has_more) return;
    if (this.anchor > this.position) this.#pass(this.anchor);
    if (this.overflowed) return;
    for (const item of this.waiting) this.#takeInOrder(item);
    this.waiting = [];
    this.behind = this.gapTold = false;
  }

  /** The cursor is beyond everything: the server was restored from an older copy. */
  restart() {
    this.position = this.anchor = NOWHERE;
    if (this.start === 'beginning') this.position = 0;
    this.ready = [];
    this.waiting = [];
    this.overflowed = false;
    this.delivered = this.position;
    this.#append(0, { type: 'gap', restored: true });
  }

  // -- to the program -------------------------------------------------------------------------

  /**
   * The events that are ready; they count as handed out.
   * @param {number} [most]
   * @returns {SyncEvent[]}
   */
  next(most = this.most) {
    const items = this.ready.splice(0, most);
    for (const { place } of items) this.delivered = Math.max(this.delivered, place);
    if (this.ready.length === 0) this.delivered = this.position;
    return items.map((item) => item.event);
  }

  /** @param {Item} item */
  #takeFromPage(item) {
    const { event } = item;
    const old = event.type === 'message' && item.place <= this.anchor;
    if (!old || this.#isUnacked(event.message)) this.#takeInOrder(item);
  }

  /** @param {Item} item */
  #takeInOrder(item) {
    if (item.place === 0) {
      this.ready.push(item);
    } else if (item.place > this.position) {
      this.position = item.place;
      this.ready.push(item);
    }
  }

  /** @param {Message} message */
  #isUnacked(message) {
    const own = message.sender_id === this.userId && message.receiver_id !== this.userId;
    return message.status === 'sent' && !own;
  }

  /** @param {number} place */
  #pass(place) {
    this.position = place;
    if (this.ready.length === 0) this.delivered = place;
  }

  /**
   * @param {number} place
   * @param {SyncEvent} event
   */
  #append(place, event) {
    this.ready.push({ place, event });
  }

  /** @param {Item} item */
  #wait(item) {
    if (this.overflowed) return;
    if (this.waiting.length >= this.most) {
      this.waiting = [];
      this.overflowed = true;
    } else {
      this.waiting.push(item);
    }
  }
}

/**
 * @param {string} name
 * @param {any} data
 * @param {string} [id]
 * @returns {Item}
 */
function itemOf(name, data, id) {
  if (name === 'new_message' || name === 'new_group_message') {
    return { place: placeOf(data.id), event: { type: 'message', message: data } };
  }
  if (name === 'message_changed') {
    const place = Math.max(placeOf(id), versionOf(data.message));
    return { place, event: { type: 'changed', message: data.message, change: data.change } };
  }
  return { place: 0, event: { type: 'push', name, data } };
}

/**
 * The messages and changes of a page, in the order of their places.
 * @param {SyncPage} page
 * @returns {Item[]}
 */
function inOrder(page) {
  /** @type {Item[]} */
  const items = page.messages.map((message) => ({
    place: placeOf(message.id),
    event: { type: 'message', message },
  }));
  for (const message of page.changed ?? []) {
    items.push({ place: versionOf(message), event: { type: 'changed', message } });
  }
  if (page.changed?.length) items.sort((a, b) => a.place - b.place);
  return items;
}
