/**
 * The queue of sends: each message is stored once, in the order in which it was written. No I/O.
 *
 * Laws:
 *
 * - Every send has a `client_msg_id`. A send without an answer is repeated with the same one, so
 *   the server stores it once, whatever broke in between.
 * - One send of a conversation is under way at a time; the next leaves when it is answered. So a
 *   refusal that passes (a rate limit, say) cannot let a later message overtake an earlier one.
 * - What the server refuses for good is kept as `failed`, with the reason, until it is retried or
 *   dropped. It does not hold up what follows.
 * @module
 */

import { isPassing } from './errors.js';

/** @typedef {import('./shapes.js').SendRequest} SendRequest */

/**
 * @typedef {object} Send
 * @property {string} client_msg_id
 * @property {SendRequest} request
 * @property {number} created_at milliseconds since 1970, by this device's clock
 * @property {'queued' | 'failed'} state
 * @property {{code: string, message: string}} [error] why it failed
 * @property {number} [blocked_until] not before this time
 */

export class Sends {
  constructor() {
    /** @type {Map<string, Send>} in the order in which they were written */
    this.all = new Map();
    /** @type {Set<string>} conversations with a send under way */
    this.busy = new Set();
    /** @type {Set<string>} ids under way */
    this.underWay = new Set();
  }

  /** @param {Send} send */
  add(send) {
    if (!this.all.has(send.client_msg_id)) this.all.set(send.client_msg_id, send);
  }

  /**
   * Those that may leave now; they count as under way.
   * @param {number} now
   * @returns {Send[]}
   */
  due(now) {
    /** @type {Set<string>} */
    const passed = new Set();
    const due = [];
    for (const send of this.all.values()) {
      if (send.state !== 'queued' || this.underWay.has(send.client_msg_id)) continue;
      const place = placeFor(send.request);
      if (this.busy.has(place) || passed.has(place)) continue;
      passed.add(place);
      if ((send.blocked_until ?? 0) > now) continue;
      this.busy.add(place);
      this.underWay.add(send.client_msg_id);
      due.push(send);
    }
    return due;
  }

  /**
   * When the next one that has to wait may leave; Infinity if none waits.
   * @returns {number}
   */
  nextDue() {
    let next = Infinity;
    for (const send of this.all.values()) {
      if (send.state === 'queued' && !this.underWay.has(send.client_msg_id)) {
        next = Math.min(next, send.blocked_until ?? 0);
      }
    }
    return next;
  }

  /**
   * It is stored.
   * @param {string} id
   */
  succeed(id) {
    this.#free(id);
    this.all.delete(id);
  }

  /**
   * It was refused, or its connection ended.
   * @param {string} id
   * @param {import('./errors.js').ClientError} error
   * @param {number} now
   * @returns {Send | null} the send, if it failed for good
   */
  fail(id, error, now) {
    this.#free(id);
    const send = this.all.get(id);
    if (!send) return null;
    if (isPassing(error)) {
      const wait = 'retryAfterMs' in error ? Number(error.retryAfterMs ?? 1000) : 0;
      send.blocked_until = now + wait;
      return null;
    }
    send.state = 'failed';
    send.error = { code: error.code, message: error.message };
    return send;
  }

  /**
   * Try a failed one again; it keeps its id and goes to the end.
   * @param {string} id
   * @returns {Send | null}
   */
  retry(id) {
    const send = this.all.get(id);
    if (!send || send.state !== 'failed') return null;
    this.all.delete(id);
    send.state = 'queued';
    delete send.error;
    delete send.blocked_until;
    this.all.set(id, send);
    return send;
  }

  /**
   * Forget one that is not under way.
   * @param {string} id
   * @returns {boolean}
   */
  drop(id) {
    return !this.underWay.has(id) && this.all.delete(id);
  }

  /** @param {string} id */
  #free(id) {
    const send = this.all.get(id);
    if (send && this.underWay.delete(id)) this.busy.delete(placeFor(send.request));
  }
}

/** @param {SendRequest} request */
function placeFor(request) {
  return request.group_id ? `g:${request.group_id}` : `u:${request.receiver_id}`;
}
