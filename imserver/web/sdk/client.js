/**
 * The client: one user's connection, which comes back by itself; what arrives, in order and once;
 * what is sent, once; and a call for every operation.
 * @module
 */

import { Backoff } from './backoff.js';
import { Catchup } from './catchup.js';
import { ClientError, Closed, ConnectionLost, Refused, isPassing } from './errors.js';
import { Line, PATIENCE } from './line.js';
import { OPERATIONS } from './operations.js';
import { Rest } from './rest.js';
import { Sends } from './sends.js';

/** @typedef {import('./options.js').Login} Login */
/** @typedef {import('./options.js').Options} Options */
/** @typedef {import('./options.js').State} State */
/** @typedef {import('./sends.js').Send} Send */
/** @typedef {import('./shapes.js').Message} Message */
/** @typedef {import('./shapes.js').SendRequest} SendRequest */

const STABLE = 5_000; // milliseconds a connection must last for its loss not to be one of a series
const PAUSE = 1_000; // where a refusal passes and does not say when
const RATE_LIMITED = 4029;
const CALL_TIMEOUT = 30_000;

// Doing these twice is not the same as doing them once: they are not repeated by themselves.
const ONCE = new Set([
  'add_user', 'change_password', 'create_group', 'logout', 'password_login', 'revoke_session',
  'set_password', 'transfer_group', 'typing',
]);

/** One user's client. `open` begins; `close` ends it. */
export class Client {
  /** @param {Options} options */
  constructor(options) {
    const base = new URL(options.url);
    base.protocol = base.protocol.replace(/^ws/, 'http');
    this.base = base.href.replace(/[?#].*$/, '').replace(/\/+$/, '');
    this.options = options;
    this.patience = { ...PATIENCE, ...options.patience };
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
    /** Calls over REST. */
    this.rest = new Rest(this.base, options.fetch ?? globalThis.fetch.bind(globalThis));
    if (!this.WebSocket) throw new TypeError('this platform has no WebSocket: pass one');
    this.catchup = new Catchup({
      cursor: options.cursor,
      start: options.start,
      most: options.buffer,
    });
    this.sends = new Sends();
    /** @type {State} */
    this.state = { status: 'waiting' };
    this.userId = '';
    /** @type {Line | null} */
    this.line = null; // a connection with a login on it
    /** @type {Line | null} */
    this.attempt = null; // a connection without one yet
    this.backoff = new Backoff(this.patience.firstDelay, this.patience.mostDelay);
    /** @type {Map<string, {resolve: (message: Message) => void, reject: (e: Error) => void}>} */
    this.senders = new Map();
    /** @type {Set<() => void>} */
    this.awaiting = new Set(); // calls that wait for a connection
    this.fetching = false;
    this.pumping = false;
    this.pause = 0; // of sync, until then
    this.started = false;
  }

  /** Begin: take up what was not sent, connect, catch up. */
  async open() {
    if (this.started) return;
    this.started = true;
    for (const send of (await this.options.storage?.load()) ?? []) this.sends.add(send);
    void this.#connect();
  }

  /** End for good. What waits to be sent stays in its storage. */
  close() {
    this.#stop({ status: 'closed' }, new Closed());
  }

  /** The network may be back, or somebody looks again: do not wait any longer. */
  wake() {
    if (this.line) this.line.probe();
    else if (this.state.status === 'waiting' || this.state.status === 'refused') {
      this.backoff.reset();
      void this.#connect();
    }
  }

  /** Where to go on after a restart, as far as `take` was given events; null before it is known. */
  get cursor() {
    return this.catchup.cursor;
  }

  // -- sending --------------------------------------------------------------------------------

  /**
   * Send a message. It is kept in the storage first, and sent when there is a connection.
   * @param {SendRequest} request
   * @param {{id?: string}} [options] `id`: the `client_msg_id`, if the program itself may repeat it
   * @returns {Promise<Message>} the message as it was stored; rejected if the server refuses it
   */
  async send(request, { id = newId() } = {}) {
    if (this.state.status === 'closed') throw new Closed();
    /** @type {Send} */
    const send = { client_msg_id: id, request, created_at: Date.now(), state: 'queued' };
    const stored = new Promise((resolve, reject) => this.senders.set(id, { resolve, reject }));
    this.sends.add(send);
    this.options.onsend?.({ type: 'queued', send });
    await this.options.storage?.put(send);
    this.#flush();
    return /** @type {Promise<Message>} */ (stored);
  }

  /**
   * Try a send again that failed.
   * @param {string} id
   */
  async retry(id) {
    const send = this.sends.retry(id);
    if (!send) return;
    this.options.onsend?.({ type: 'queued', send });
    await this.options.storage?.put(send);
    this.#flush();
  }

  /**
   * Forget a send that failed or has not left.
   * @param {string} id
   * @returns {Promise<boolean>} false: it is on its way already
   */
  async drop(id) {
    const send = this.sends.all.get(id);
    if (!send || !this.sends.drop(id)) return false;
    await this.options.storage?.remove(id);
    this.senders.get(id)?.reject(new Closed('the send was dropped'));
    this.senders.delete(id);
    this.options.onsend?.({ type: 'dropped', send });
    return true;
  }

  #flush() {
    const { line } = this;
    if (!line) return;
    const now = Date.now();
    for (const send of this.sends.due(now)) void this.#transmit(line, send);
    const wait = this.sends.nextDue() - now;
    if (wait > 0 && wait < Infinity) {
      clearTimeout(this.flushTimer);
      this.flushTimer = setTimeout(() => this.#flush(), wait);
    }
  }

  /**
   * @param {Line} line
   * @param {Send} send
   */
  async #transmit(line, send) {
    const id = send.client_msg_id;
    try {
      const answer = await line.ask('send_message', { ...send.request, client_msg_id: id });
      const { message } = answer;
      this.sends.succeed(id);
      this.options.onsend?.({ type: 'sent', send, message });
      this.catchup.push('new_message', message);
      this.senders.get(id)?.resolve(message);
      this.senders.delete(id);
      this.#pump();
      await this.options.storage?.remove(id);
    } catch (error) {
      if (error instanceof Closed || !(error instanceof ClientError)) {
        this.sends.fail(id, new ConnectionLost('closed'), 0);
        if (!(error instanceof ClientError)) throw error;
        return;
      }
      const failed = this.sends.fail(id, error, Date.now());
      if (failed) {
        this.options.onsend?.({ type: 'failed', send: failed });
        this.senders.get(id)?.reject(error);
        this.senders.delete(id);
        await this.options.storage?.put(failed);
      }
    }
    this.#flush();
  }

  // -- calls ----------------------------------------------------------------------------------

  /**
   * Call an operation by its name (docs/api.md). Waits for a connection, and repeats what was not
   * answered where that does no harm.
   * @param {string} name
   * @param {Record<string, any>} [request]
   * @param {{timeout?: number}} [options] milliseconds
   * @returns {Promise<any>}
   */
  async call(name, request = {}, { timeout = CALL_TIMEOUT } = {}) {
    const operation = OPERATIONS[name];
    if (!operation) throw new TypeError(`there is no operation ${name}`);
    const end = performance.now() + timeout;
    for (;;) {
      try {
        if (!operation.ws) return await this.rest.call(name, request);
        const line = this.line ?? (await this.#connection(end - performance.now()));
        return await line.ask(name, request);
      } catch (error) {
        if (!isPassing(error) || ONCE.has(name) || performance.now() >= end) throw error;
        const wait = error instanceof Refused ? (error.retryAfterMs ?? PAUSE) : 0;
        if (performance.now() + wait >= end) throw error;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  /**
   * @param {number} timeout milliseconds
   * @returns {Promise<Line>}
   */
  #connection(timeout) {
    return new Promise((resolve, reject) => {
      const end = performance.now() + timeout;
      /** @type {() => void} */
      const settle = () => {
        if (this.line) resolve(this.line);
        else if (this.isOver) reject(this.state.error ?? new Closed());
        else if (performance.now() < end) return;
        else reject(new ConnectionLost('there is no connection'));
        clearTimeout(timer);
        this.awaiting.delete(settle);
      };
      const timer = setTimeout(settle, timeout + 1);
      this.awaiting.add(settle);
      settle();
    });
  }

  /** Whether no further attempt to connect is made. */
  get isOver() {
    return this.state.status === 'closed' || this.state.status === 'refused';
  }

  // -- the connection -------------------------------------------------------------------------

  async #connect() {
    clearTimeout(this.retryTimer);
    if (this.attempt || this.line || this.state.status === 'closed') return;
    this.#setState({ status: 'connecting' });
    const began = performance.now();
    const { login } = this.options;
    /** @type {Line | null} */
    let line = null;
    try {
      /** @type {Login} */
      const identity = typeof login === 'function' ? await login() : login;
      if (this.attempt || this.isOver) return;
      line = this.attempt = new Line({
        url: `${this.base.replace(/^http/, 'ws')}/ws`,
        WebSocket: this.WebSocket,
        patience: this.patience,
        push: (envelope) => this.#receive(envelope),
        ended: (end) => this.#ended(began, end),
      });
      const answer = await line.login({ platform: 'web', ...identity });
      this.userId = this.catchup.userId = answer.user_id;
      this.rest.identity = { ...identity, user_id: this.userId };
    } catch (error) {
      if (this.attempt === line) this.attempt = null;
      if (this.isOver) return;
      if (error instanceof ClientError && !isPassing(error)) {
        line?.close();
        this.#stop({ status: 'refused', error }, error);
        return;
      }
      line?.break('no login');
      const wait = error instanceof Refused ? (error.retryAfterMs ?? PAUSE) : 0;
      this.#wait(wait, error instanceof ClientError ? error : undefined);
      return;
    }
    if (line.over) return;
    this.attempt = null;
    this.line = line;
    this.#setState({ status: 'catching_up' });
    for (const settle of [...this.awaiting]) settle();
    this.#flush();
    this.#pump();
  }

  /**
   * @param {number} began
   * @param {import('./line.js').End} end
   */
  #ended(began, end) {
    if (!this.line) return; // the login fails, and says so itself
    this.line = null;
    this.fetching = false;
    this.catchup.disconnect();
    if (this.isOver) return;
    if (performance.now() - began >= STABLE) this.backoff.reset();
    const error = new ConnectionLost(end.reason || 'the connection broke');
    this.#wait(end.code === RATE_LIMITED ? PAUSE : 0, error, end.code);
  }

  /**
   * @param {number} least milliseconds
   * @param {ClientError} [error]
   * @param {number} [code]
   */
  #wait(least, error, code) {
    const delay = least + this.backoff.next();
    this.#setState({ status: 'waiting', retryAt: Date.now() + delay, error, code });
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => void this.#connect(), delay);
  }

  /** @param {import('./line.js').Envelope} envelope */
  #receive(envelope) {
    this.catchup.push(envelope.type, envelope.data, envelope.message_id);
    this.#pump();
  }

  // -- what arrives ---------------------------------------------------------------------------

  #pump() {
    if (this.catchup.ready.length > 0) void this.#deliver();
    this.#catchUp();
  }

  /** Ask for the next page, if one is needed and there is room for it. */
  #catchUp() {
    const { line } = this;
    if (!line || this.fetching || !this.catchup.behind || !this.catchup.hasRoom) return;
    if (Date.now() < this.pause) return;
    this.fetching = true;
    void this.#fetch(line);
  }

  /** @param {Line} line */
  async #fetch(line) {
    try {
      const page = await line.ask('sync_offline', this.catchup.ask());
      if (this.line === line) this.catchup.take(page);
    } catch (error) {
      if (this.line !== line || !(error instanceof ClientError)) return;
      if (error.code === 'cursor_ahead') {
        this.catchup.restart();
      } else if (isPassing(error)) {
        const wait = error instanceof Refused ? (error.retryAfterMs ?? PAUSE) : PAUSE;
        this.pause = Date.now() + wait;
        setTimeout(() => this.#pump(), wait + 1);
      } else {
        this.#stop({ status: 'refused', error }, error);
        return;
      }
    }
    if (this.line !== line) return;
    this.fetching = false;
    if (!this.catchup.behind && this.state.status === 'catching_up') {
      this.#setState({ status: 'online' });
    }
    this.#pump();
  }

  async #deliver() {
    if (this.pumping) return;
    this.pumping = true;
    try {
      await null; // frames that come together are handed out together
      while (this.catchup.ready.length > 0 && this.state.status !== 'closed') {
        const events = this.catchup.next();
        await this.options.take?.({ events, cursor: this.catchup.cursor });
      }
      this.pumping = false;
    } catch (error) {
      this.#stop({ status: 'closed' }, new Closed());
      throw error;
    }
    this.#catchUp(); // there is room now
  }

  /** @param {State} state */
  #setState(state) {
    this.state = state;
    this.options.onstate?.(state);
  }

  /**
   * @param {State} state
   * @param {ClientError} error
   */
  #stop(state, error) {
    if (this.state.status === 'closed') return;
    clearTimeout(this.retryTimer);
    clearTimeout(this.flushTimer);
    this.#setState(state);
    const { line, attempt } = this;
    this.line = this.attempt = null;
    this.fetching = false;
    this.catchup.disconnect();
    line?.close();
    attempt?.close();
    for (const settle of [...this.awaiting]) settle();
    if (state.status !== 'closed') return;
    for (const { reject } of this.senders.values()) reject(error);
    this.senders.clear();
  }
}

/**
 * A client that is connecting; see `Options`.
 * @param {Options} options
 * @returns {Promise<Client>}
 */
export async function openClient(options) {
  const client = new Client(options);
  await client.open();
  return client;
}

/** A new `client_msg_id`. */
export function newId() {
  // `randomUUID` is for secure contexts only, and an intranet may have none.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
