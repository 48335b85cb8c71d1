/**
 * What a browser keeps of one user: conversations, messages, what waits to be sent, and the cursor.
 * In IndexedDB; in memory where there is none (private windows).
 *
 * Law: the cursor is written in one transaction with the messages that it stands for, and never goes
 * back, so that two tabs may write.
 * @module
 */

import { placeOf } from '../sdk/places.js';

/** @typedef {import('../sdk/shapes.js').Message} Message */
/** @typedef {import('../sdk/sends.js').Send} Send */
/** @typedef {import('../state/conversations.js').Talk} Talk */

const PREFIX = 'imserver:';
const VERSION = 1;
const FARTHEST = Number.MAX_SAFE_INTEGER;

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
function committed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

/** @typedef {{key: string, message: Message}} Entry */

class DiskCache {
  /** @param {IDBDatabase} database */
  constructor(database) {
    this.database = database;
    // Another tab deletes everything: let it.
    database.onversionchange = () => database.close();
  }

  /** @returns {Promise<{cursor: string | null, talks: Talk[]}>} */
  async load() {
    const transaction = this.database.transaction(['meta', 'talks']);
    const cursor = await result(transaction.objectStore('meta').get('cursor'));
    const talks = await result(transaction.objectStore('talks').getAll());
    return { cursor: cursor ?? null, talks };
  }

  /**
   * @param {Entry[]} entries
   * @param {Talk[]} talks
   * @param {string | null} cursor
   */
  async save(entries, talks, cursor) {
    const transaction = this.database.transaction(['meta', 'talks', 'messages'], 'readwrite');
    const messages = transaction.objectStore('messages');
    for (const { key, message } of entries) messages.put(message, [key, placeOf(message.id)]);
    for (const talk of talks) transaction.objectStore('talks').put(talk, talk.key);
    if (cursor !== null) {
      const meta = transaction.objectStore('meta');
      const old = await result(meta.get('cursor'));
      if (placeOf(cursor) > placeOf(old)) meta.put(cursor, 'cursor');
    }
    await committed(transaction);
  }

  /**
   * The newest messages of a conversation before a place, oldest first.
   * @param {string} key
   * @param {number} before
   * @param {number} limit
   * @returns {Promise<Message[]>}
   */
  older(key, before, limit) {
    const range = IDBKeyRange.bound([key, 0], [key, Math.min(before, FARTHEST)], false, true);
    const request = this.database.transaction('messages').objectStore('messages').openCursor(range, 'prev');
    return new Promise((resolve, reject) => {
      /** @type {Message[]} */
      const found = [];
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || found.length === limit) return resolve(found.reverse());
        found.push(cursor.value);
        cursor.continue();
      };
    });
  }

  /** What waits to be sent. @returns {import('../sdk/options.js').SendStorage} */
  get sends() {
    /** @param {(store: IDBObjectStore) => void} work */
    const write = (work) => {
      const transaction = this.database.transaction('sends', 'readwrite');
      work(transaction.objectStore('sends'));
      return committed(transaction);
    };
    return {
      load: async () => {
        const store = this.database.transaction('sends').objectStore('sends');
        /** @type {Send[]} */
        const all = await result(store.getAll());
        return all.sort((a, b) => a.created_at - b.created_at);
      },
      put: (send) => write((store) => store.put(send, send.client_msg_id)),
      remove: (id) => write((store) => store.delete(id)),
    };
  }

  /** Forget all but what waits to be sent. */
  async forget() {
    const names = ['meta', 'talks', 'messages'];
    const transaction = this.database.transaction(names, 'readwrite');
    for (const name of names) transaction.objectStore(name).clear();
    await committed(transaction);
  }

  close() {
    this.database.close();
  }
}

class MemoryCache {
  constructor() {
    /** @type {Map<string, Message[]>} */
    this.messages = new Map();
    /** @type {Map<string, Send>} */
    this.waiting = new Map();
  }

  async load() {
    return { cursor: null, talks: /** @type {Talk[]} */ ([]) };
  }

  /** @param {Entry[]} entries */
  async save(entries) {
    for (const { key, message } of entries) {
      const all = this.messages.get(key) ?? [];
      const at = all.findLastIndex((one) => placeOf(one.id) <= placeOf(message.id));
      all.splice(all[at]?.id === message.id ? at : at + 1, all[at]?.id === message.id ? 1 : 0, message);
      this.messages.set(key, all);
    }
  }

  /** @param {string} key @param {number} before @param {number} limit */
  async older(key, before, limit) {
    const all = (this.messages.get(key) ?? []).filter((message) => placeOf(message.id) < before);
    return all.slice(-limit);
  }

  /** @returns {import('../sdk/options.js').SendStorage} */
  get sends() {
    return {
      load: async () => [...this.waiting.values()],
      put: async (send) => void this.waiting.set(send.client_msg_id, send),
      remove: async (id) => void this.waiting.delete(id),
    };
  }

  async forget() {
    this.messages.clear();
  }

  close() {}
}

/** @typedef {DiskCache | MemoryCache} Cache */

/**
 * The cache of one user at one server.
 * @param {string} base of the server
 * @param {string} userId
 * @returns {Promise<Cache>}
 */
export async function openCache(base, userId) {
  try {
    const request = indexedDB.open(`${PREFIX}${base}:${userId}`, VERSION);
    request.onupgradeneeded = () => {
      for (const name of ['meta', 'talks', 'messages', 'sends']) {
        request.result.createObjectStore(name);
      }
    };
    return new DiskCache(await result(request));
  } catch {
    return new MemoryCache();
  }
}

/**
 * Delete everything that is kept of a user.
 * @param {string} base
 * @param {string} userId
 */
export async function deleteCache(base, userId) {
  try {
    await result(indexedDB.deleteDatabase(`${PREFIX}${base}:${userId}`));
  } catch {
    // There was none.
  }
}
