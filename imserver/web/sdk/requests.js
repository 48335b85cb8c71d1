/**
 * Requests that wait for their answers, on one connection. No I/O.
 *
 * An answer is believed by its correlation id, never by its place. A connection that ends fails
 * what it had not answered; whoever asked decides whether to ask again.
 * @module
 */

import { ConnectionLost, refusalIn } from './errors.js';

/**
 * @typedef {object} Pending
 * @property {string} type
 * @property {(answer: any) => void} resolve
 * @property {(error: import('./errors.js').ClientError) => void} reject
 */

export class Requests {
  constructor() {
    /** @type {Map<string, Pending>} */
    this.pending = new Map();
    this.count = 0;
  }

  /**
   * A frame to send, and the promise of its answer.
   * @param {string} type
   * @param {object} data
   * @param {number} now milliseconds since 1970
   * @returns {{frame: string, answer: Promise<any>}}
   */
  make(type, data, now) {
    const id = `c${++this.count}`;
    const frame = JSON.stringify({ type, data, timestamp: now, message_id: id });
    /** @type {Promise<any>} */
    const answer = new Promise((resolve, reject) => {
      this.pending.set(id, { type, resolve, reject });
    });
    return { frame, answer };
  }

  /**
   * Take a frame; false if it answers nothing.
   * @param {{type: string, data: any, message_id?: string}} envelope
   * @returns {boolean}
   */
  take(envelope) {
    const id = envelope.message_id ?? '';
    const request = this.pending.get(id);
    if (!request || (envelope.type !== request.type && envelope.type !== 'error')) return false;
    this.pending.delete(id);
    const refusal = refusalIn(envelope.data);
    if (refusal) request.reject(refusal);
    else request.resolve(envelope.data);
    return true;
  }

  /**
   * The connection is gone.
   * @param {import('./errors.js').ClientError} [error]
   */
  fail(error) {
    const failed = [...this.pending.values()];
    this.pending.clear();
    for (const { type, reject } of failed) {
      reject(error ?? new ConnectionLost(`the connection ended before ${type} was answered`));
    }
  }
}
