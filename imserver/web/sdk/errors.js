/**
 * What can go wrong. Programs go by `code`; `message` is a sentence for people.
 * @module
 */

/** The base of all errors that the client raises. */
export class ClientError extends Error {
  /**
   * @param {string} message
   * @param {string} code a word for programs
   */
  constructor(message, code) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The server refused a request; `code` is one of the codes in docs/api.md. */
export class Refused extends ClientError {
  /**
   * @param {string} code
   * @param {string} message
   * @param {number} [retryAfterMs] when the request would be admitted
   */
  constructor(code, message, retryAfterMs) {
    super(message, code);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The connection ended before the answer came; whether the request was carried out is unknown. */
export class ConnectionLost extends ClientError {
  /** @param {string} message */
  constructor(message) {
    super(message, 'connection_lost');
  }
}

/** The client was closed, by its owner or by a refusal that does not pass. */
export class Closed extends ClientError {
  /** @param {string} [message] */
  constructor(message = 'the client is closed') {
    super(message, 'closed');
  }
}

/** Refusals that pass by themselves: the same request may succeed later. */
const PASSING = new Set(['rate_limited', 'unavailable', 'internal', 'too_slow', 'connection_lost']);

/**
 * Whether the same request may succeed later.
 * @param {unknown} error
 */
export function isPassing(error) {
  return error instanceof ClientError && PASSING.has(error.code);
}

/**
 * The refusal in the body of an answer, if there is one.
 * @param {any} data
 * @returns {Refused | null}
 */
export function refusalIn(data) {
  if (!data || typeof data.code !== 'string' || typeof data.error !== 'string') return null;
  return new Refused(data.code, data.error, data.retry_after_ms ?? undefined);
}
