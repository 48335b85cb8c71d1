export class Rest {
    /**
     * @param {string} base where the server is, without a slash at the end
     * @param {typeof fetch} fetch
     */
    constructor(base: string, fetch: typeof globalThis.fetch);
    base: string;
    fetch: typeof fetch;
    /** @type {import('./options.js').Login | null} */
    identity: import("./options.js").Login | null;
    /**
     * Call an operation over REST.
     * @param {string} name
     * @param {Record<string, any>} [request]
     * @returns {Promise<any>}
     */
    call(name: string, request?: Record<string, any>): Promise<any>;
    /**
     * Fetch a path of the server and read its JSON.
     * @param {string} path
     * @param {RequestInit} init
     * @returns {Promise<any>}
     */
    json(path: string, init: RequestInit): Promise<any>;
    /**
     * The headers that say who is calling.
     * @returns {Record<string, string>}
     */
    headers(): Record<string, string>;
}
