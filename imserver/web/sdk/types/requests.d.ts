/**
 * @typedef {object} Pending
 * @property {string} type
 * @property {(answer: any) => void} resolve
 * @property {(error: import('./errors.js').ClientError) => void} reject
 */
export class Requests {
    /** @type {Map<string, Pending>} */
    pending: Map<string, Pending>;
    count: number;
    /**
     * A frame to send, and the promise of its answer.
     * @param {string} type
     * @param {object} data
     * @param {number} now milliseconds since 1970
     * @returns {{frame: string, answer: Promise<any>}}
     */
    make(type: string, data: object, now: number): {
        frame: string;
        answer: Promise<any>;
    };
    /**
     * Take a frame; false if it answers nothing.
     * @param {{type: string, data: any, message_id?: string}} envelope
     * @returns {boolean}
     */
    take(envelope: {
        type: string;
        data: any;
        message_id?: string;
    }): boolean;
    /**
     * The connection is gone.
     * @param {import('./errors.js').ClientError} [error]
     */
    fail(error?: import("./errors.js").ClientError): void;
}
export type Pending = {
    type: string;
    resolve: (answer: any) => void;
    reject: (error: import("./errors.js").ClientError) => void;
};
