/**
 * What a client is made with, and what it tells its program.
 * @module
 */

/** @typedef {import('./errors.js').ClientError} ClientError */
/** @typedef {import('./catchup.js').SyncEvent} SyncEvent */
/** @typedef {import('./line.js').Patience} Patience */
/** @typedef {import('./sends.js').Send} Send */
/** @typedef {import('./shapes.js').Message} Message */

/** @typedef {{user_id?: string, token?: string, platform?: string}} Login */

/**
 * @typedef {object} Batch
 * @property {SyncEvent[]} events in the server's order
 * @property {string | null} cursor where to go on after them: keep it together with them
 */

/**
 * @typedef {object} State
 * @property {'connecting' | 'catching_up' | 'online' | 'waiting' | 'refused' | 'closed'} status
 * @property {number} [retryAt] when the next attempt is made, milliseconds since 1970
 * @property {ClientError} [error] why not
 * @property {number} [code] the last connection's close code
 */

/**
 * @typedef {{type: 'queued' | 'failed' | 'dropped', send: Send}
 *   | {type: 'sent', send: Send, message: Message}} SendEvent
 */

/**
 * Where sends that wait are kept. Without one they live as long as the client.
 * @typedef {object} SendStorage
 * @property {() => Promise<Send[]>} load in the order in which they were written
 * @property {(send: Send) => Promise<void>} put
 * @property {(id: string) => Promise<void>} remove
 */

/**
 * @typedef {object} Options
 * @property {string} url where the server is, `https://example.org`; a path is a prefix
 * @property {Login | (() => Promise<Login> | Login)} login asked at each login if it is a function
 * @property {(batch: Batch) => void | Promise<void>} [take] takes what arrives; the next batch
 *   comes when its promise is fulfilled. What it throws ends the client.
 * @property {string | null} [cursor] where to go on, as a batch gave it
 * @property {'beginning' | 'unread' | 'now'} [start] where to begin without a cursor: with the
 *   oldest message, with all that is not acknowledged (the default), or with what comes from now on
 * @property {(state: State) => void} [onstate]
 * @property {(event: SendEvent) => void} [onsend] what became of a send
 * @property {SendStorage} [storage]
 * @property {number} [buffer] how many events may wait
 * @property {Partial<Patience>} [patience]
 * @property {typeof WebSocket} [WebSocket] where the platform has none
 * @property {typeof fetch} [fetch]
 */

export {};
