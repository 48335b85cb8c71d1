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
    /** @type {Map<string, Send>} in the order in which they were written */
    all: Map<string, Send>;
    /** @type {Set<string>} conversations with a send under way */
    busy: Set<string>;
    /** @type {Set<string>} ids under way */
    underWay: Set<string>;
    /** @param {Send} send */
    add(send: Send): void;
    /**
     * Those that may leave now; they count as under way.
     * @param {number} now
     * @returns {Send[]}
     */
    due(now: number): Send[];
    /**
     * When the next one that has to wait may leave; Infinity if none waits.
     * @returns {number}
     */
    nextDue(): number;
    /**
     * It is stored.
     * @param {string} id
     */
    succeed(id: string): void;
    /**
     * It was refused, or its connection ended.
     * @param {string} id
     * @param {import('./errors.js').ClientError} error
     * @param {number} now
     * @returns {Send | null} the send, if it failed for good
     */
    fail(id: string, error: import("./errors.js").ClientError, now: number): Send | null;
    /**
     * Try a failed one again; it keeps its id and goes to the end.
     * @param {string} id
     * @returns {Send | null}
     */
    retry(id: string): Send | null;
    /**
     * Forget one that is not under way.
     * @param {string} id
     * @returns {boolean}
     */
    drop(id: string): boolean;
    #private;
}
export type SendRequest = import("./shapes.js").SendRequest;
export type Send = {
    client_msg_id: string;
    request: SendRequest;
    /**
     * milliseconds since 1970, by this device's clock
     */
    created_at: number;
    state: "queued" | "failed";
    /**
     * why it failed
     */
    error?: {
        code: string;
        message: string;
    } | undefined;
    /**
     * not before this time
     */
    blocked_until?: number | undefined;
};
