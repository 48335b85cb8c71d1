/**
 * One WebSocket, from the handshake to its end: login, requests, signs of life.
 * @module
 */

import { Closed, ConnectionLost } from './errors.js';
import { Requests } from './requests.js';

/**
 * How long to wait for what, in milliseconds.
 * @typedef {object} Patience
 * @property {number} connect for a connection to be open, and for the login on it
 * @property {number} heartbeat of silence before the server is asked for a sign of life
 * @property {number} answer of silence while an answer is due; then the connection is dead
 * @property {number} firstDelay the most before the first attempt to reconnect; doubles
 * @property {number} mostDelay the most before any later one
 */

/** @type {Readonly<Patience>} */
export const PATIENCE = Object.freeze({
  connect: 10_000,
  heartbeat: 25_000,
  answer: 15_000,
  firstDelay: 500,
  mostDelay: 30_000,
});

const PROBE = 4_000; // milliseconds for an answer when somebody is looking
const TICK = 1_000;

/** @typedef {{type: string, data: any, message_id?: string}} Envelope */
/** @typedef {{code: number, reason: string}} End  `code` is 1006 where there was no close frame */

export class Line {
  /**
   * @param {object} options
   * @param {string} options.url of the WebSocket
   * @param {typeof WebSocket} options.WebSocket
   * @param {Patience} options.patience
   * @param {(envelope: Envelope) => void} options.push takes what answers nothing
   * @param {(end: End) => void} options.ended called once
   */
  constructor({ url, WebSocket, patience, push, ended }) {
    this.patience = patience;
    this.push = push;
    this.ended = ended;
    this.requests = new Requests();
    this.heard = performance.now();
    this.dueSince = 0; // since when an answer is due
    this.probing = false;
    this.over = false;
    this.socket = new WebSocket(url);
    this.timer = setInterval(() => this.#tick(), TICK);
    /** @type {Promise<void>} */
    this.opened = new Promise((resolve, reject) => {
      this.socket.onopen = () => resolve();
      this.refuse = reject;
    });
    this.opened.catch(() => {});
    this.socket.onmessage = (event) => this.#receive(event.data);
    this.socket.onclose = (event) => this.#end({ code: event.code, reason: event.reason });
    this.socket.onerror = () => {}; // a close follows
    this.deadline = setTimeout(() => this.break('the server does not answer'), patience.connect);
  }

  /**
   * Log in, once the connection is open.
   * @param {object} login the data of a `login` frame
   * @returns {Promise<any>}
   */
  async login(login) {
    await this.opened;
    const answer = await this.ask('login', login);
    clearTimeout(this.deadline);
    return answer;
  }

  /**
   * One request and its answer.
   * @param {string} type
   * @param {object} data
   * @returns {Promise<any>}
   */
  ask(type, data) {
    if (this.over) return Promise.reject(new ConnectionLost('there is no connection'));
    if (this.requests.pending.size === 0) this.dueSince = performance.now();
    const { frame, answer } = this.requests.make(type, data, Date.now());
    try {
      this.socket.send(frame);
    } catch {
      this.break('the connection broke');
    }
    return answer;
  }

  /** Find out soon whether the connection still lives. */
  probe() {
    if (this.over || this.probing) return;
    this.probing = true;
    this.ask('heartbeat', {}).catch(() => {});
  }

  /**
   * Give the connection up without waiting for the other side.
   * @param {string} reason
   */
  break(reason) {
    this.#end({ code: 1006, reason });
    this.socket.close();
  }

  /** Close it in order. */
  close() {
    this.#end({ code: 1000, reason: 'closed' }, new Closed());
    this.socket.close(1000);
  }

  /** @param {unknown} text */
  #receive(text) {
    if (this.over) return;
    this.heard = performance.now();
    this.probing = false;
    /** @type {Envelope} */
    let envelope;
    try {
      envelope = JSON.parse(String(text));
    } catch {
      this.break('the server sent what cannot be read');
      return;
    }
    if (!this.requests.take(envelope)) this.push(envelope);
  }

  #tick() {
    const now = performance.now();
    const silence = now - this.heard;
    if (this.requests.pending.size > 0) {
      const due = now - Math.max(this.heard, this.dueSince);
      if (due > (this.probing ? PROBE : this.patience.answer)) {
        this.break('the server does not answer');
      }
    } else if (silence > this.patience.heartbeat) {
      this.ask('heartbeat', {}).catch(() => {});
    }
  }

  /**
   * @param {End} end
   * @param {import('./errors.js').ClientError} [error]
   */
  #end(end, error) {
    if (this.over) return;
    this.over = true;
    clearInterval(this.timer);
    clearTimeout(this.deadline);
    Object.assign(this.socket, { onopen: null, onmessage: null, onclose: null });
    this.refuse?.(error ?? new ConnectionLost(end.reason || 'the connection broke'));
    this.requests.fail(error);
    this.ended(end);
  }
}
