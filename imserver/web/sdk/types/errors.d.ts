/**
 * Whether the same request may succeed later.
 * @param {unknown} error
 */
export function isPassing(error: unknown): boolean;
/**
 * The refusal in the body of an answer, if there is one.
 * @param {any} data
 * @returns {Refused | null}
 */
export function refusalIn(data: any): Refused | null;
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
    constructor(message: string, code: string);
    code: string;
}
/** The server refused a request; `code` is one of the codes in docs/api.md. */
export class Refused extends ClientError {
    /**
     * @param {string} code
     * @param {string} message
     * @param {number} [retryAfterMs] when the request would be admitted
     */
    constructor(code: string, message: string, retryAfterMs?: number);
    retryAfterMs: number | undefined;
}
/** The connection ended before the answer came; whether the request was carried out is unknown. */
export class ConnectionLost extends ClientError {
    /** @param {string} message */
    constructor(message: string);
}
/** The client was closed, by its owner or by a refusal that does not pass. */
export class Closed extends ClientError {
    /** @param {string} [message] */
    constructor(message?: string);
}
