/**
 * A client that is connecting; see `Options`.
 * @param {Options} options
 * @returns {Promise<Client>}
 */
export function openClient(options: Options): Promise<Client>;
/** A new `client_msg_id`. */
export function newId(): string;
/** One user's client. `open` begins; `close` ends it. */
export class Client {
    /** @param {Options} options */
    constructor(options: Options);
    base: string;
    options: import("./options.js").Options;
    patience: {
        /**
         * for a connection to be open, and for the login on it
         */
        connect: number;
        /**
         * of silence before the server is asked for a sign of life
         */
        heartbeat: number;
        /**
         * of silence while an answer is due; then the connection is dead
         */
        answer: number;
        /**
         * the most before the first attempt to reconnect; doubles
         */
        firstDelay: number;
        /**
         * the most before any later one
         */
        mostDelay: number;
    };
    WebSocket: {
        new (url: string | URL, protocols?: string | string[]): WebSocket;
        prototype: WebSocket;
        readonly CONNECTING: 0;
        readonly OPEN: 1;
        readonly CLOSING: 2;
        readonly CLOSED: 3;
    };
    /** Calls over REST. */
    rest: Rest;
    catchup: Catchup;
    sends: Sends;
    /** @type {State} */
    state: State;
    userId: string;
    /** @type {Line | null} */
    line: Line | null;
    /** @type {Line | null} */
    attempt: Line | null;
    backoff: Backoff;
    /** @type {Map<string, {resolve: (message: Message) => void, reject: (e: Error) => void}>} */
    senders: Map<string, {
        resolve: (message: Message) => void;
        reject: (e: Error) => void;
    }>;
    /** @type {Set<() => void>} */
    awaiting: Set<() => void>;
    fetching: boolean;
    pumping: boolean;
    pause: number;
    started: boolean;
    /** Begin: take up what was not sent, connect, catch up. */
    open(): Promise<void>;
    /** End for good. What waits to be sent stays in its storage. */
    close(): void;
    /** The network may be back, or somebody looks again: do not wait any longer. */
    wake(): void;
    /** Where to go on after a restart, as far as `take` was given events; null before it is known. */
    get cursor(): string | null;
    /**
     * Send a message. It is kept in the storage first, and sent when there is a connection.
     * @param {SendRequest} request
     * @param {{id?: string}} [options] `id`: the `client_msg_id`, if the program itself may repeat it
     * @returns {Promise<Message>} the message as it was stored; rejected if the server refuses it
     */
    send(request: SendRequest, { id }?: {
        id?: string;
    }): Promise<Message>;
    /**
     * Try a send again that failed.
     * @param {string} id
     */
    retry(id: string): Promise<void>;
    /**
     * Forget a send that failed or has not left.
     * @param {string} id
     * @returns {Promise<boolean>} false: it is on its way already
     */
    drop(id: string): Promise<boolean>;
    flushTimer: number | undefined;
    /**
     * Call an operation by its name (docs/api.md). Waits for a connection, and repeats what was not
     * answered where that does no harm.
     * @param {string} name
     * @param {Record<string, any>} [request]
     * @param {{timeout?: number}} [options] milliseconds
     * @returns {Promise<any>}
     */
    call(name: string, request?: Record<string, any>, { timeout }?: {
        timeout?: number;
    }): Promise<any>;
    /** Whether no further attempt to connect is made. */
    get isOver(): boolean;
    retryTimer: number | undefined;
    #private;
}
export type Login = import("./options.js").Login;
export type Options = import("./options.js").Options;
export type State = import("./options.js").State;
export type Send = import("./sends.js").Send;
export type Message = import("./shapes.js").Message;
export type SendRequest = import("./shapes.js").SendRequest;
import { Rest } from './rest.js';
import { Catchup } from './catchup.js';
import { Sends } from './sends.js';
import { Line } from './line.js';
import { Backoff } from './backoff.js';
