/**
 * Calls over REST.
 * @module
 */

import { ClientError, ConnectionLost, refusalIn } from './errors.js';
import { OPERATIONS, restOf } from './operations.js';

export class Rest {
  /**
   * @param {string} base where the server is, without a slash at the end
   * @param {typeof fetch} fetch
   */
  constructor(base, fetch) {
    this.base = base;
    this.fetch = fetch;
    /** @type {import('./options.js').Login | null} */
    this.identity = null;
  }

  /**
   * Call an operation over REST.
   * @param {string} name
   * @param {Record<string, any>} [request]
   * @returns {Promise<any>}
   */
  async call(name, request = {}) {
    const { method, path, body } = restOf(OPERATIONS[name], request);
    const headers = this.headers();
    if (body) headers['Content-Type'] = 'application/json';
    return this.json(path, { method, headers, body: body ? JSON.stringify(body) : undefined });
  }

  /**
   * Fetch a path of the server and read its JSON.
   * @param {string} path
   * @param {RequestInit} init
   * @returns {Promise<any>}
   */
  async json(path, init) {
    let response;
    let data;
    try {
      response = await this.fetch(this.base + path, { credentials: 'same-origin', ...init });
      data = await response.json();
    } catch (error) {
      throw new ConnectionLost(`${path}: ${error instanceof Error ? error.message : error}`);
    }
    if (response.ok) return data;
    throw refusalIn(data) ?? new ClientError(`${path}: ${response.status}`, 'internal');
  }

  /**
   * The headers that say who is calling.
   * @returns {Record<string, string>}
   */
  headers() {
    const { identity } = this;
    if (identity?.token) return { Authorization: `Bearer ${identity.token}` };
    const id = identity?.user_id;
    if (!id) return {};
    // The header's bytes are UTF-8; `fetch` takes them as characters below 256.
    const bytes = new TextEncoder().encode(id);
    return { 'X-User-ID': Array.from(bytes, (byte) => String.fromCharCode(byte)).join('') };
  }
}
