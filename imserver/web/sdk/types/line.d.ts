/**
 * How long to wait for what, in milliseconds.
 * @typedef {object} Patience
 * @property {number} connect for a connection to be open, and for the login on it
 * @property {number} heartbeat of silence before the server is asked for a sign of life
 * @property {number} answer of silence while an answer is due; then the connection is dead
 * @property {number} firstDelay the most before the first attempt to reconnect; doubles
 * @property {number} mostDelay the most before any later one
 */
/** @type {Readonly<Patience>} */
export const PATIENCE: Readonly<Patience>;
/** @typedef {{type: string, data: any, message_id?: string}} Envelope */
/** @typedef {{code: number, reason: string}} End  `code` is 1006 where there was no close frame */
export class Line {
    /**
     * @param {object} options
     * @param {string} options.url of the WebSocket
     * @param {typeof WebSocket} options.WebSocket
     * @param {Patience} options.patience
     * @param {(envelope: Envelope) => void} options.push takes what answers nothing
     * @param {(end: End) => void} options.ended called once
     */
    constructor({ url, WebSocket, patience, push, ended }: {
        url: string;
        WebSocket: typeof globalThis.WebSocket;
        patience: Patience;
        push: (envelope: Envelope) => void;
        ended: (end: End) => void;
    });
    patience: Patience;
    push: (envelope: Envelope) => void;
    ended: (end: End) => void;
    requests: Requests;
    heard: number;
    dueSince: number;
    probing: boolean;
    over: boolean;
    socket: WebSocket;
    timer: number;
    /** @type {Promise<void>} */
    opened: Promise<void>;
    refuse: (reason?: any) => void;
    deadline: number;
    /**
     * Log in, once the connection is open.
     * @param {object} login the data of a `login` frame
     * @returns {Promise<any>}
     */
    login(login: object): Promise<any>;
    /**
     * One request and its answer.
     * @param {string} type
     * @param {object} data
     * @returns {Promise<any>}
     */
    ask(type: string, data: object): Promise<any>;
    /** Find out soon whether the connection still lives. */
    probe(): void;
    /**
     * Give the connection up without waiting for the other side.
     * @param {string} reason
     */
    break(reason: string): void;
    /** Close it in order. */
    close(): void;
    #private;
}
/**
 * How long to wait for what, in milliseconds.
 */
export type Patience = {
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
export type Envelope = {
    type: string;
    data: any;
    message_id?: string;
};
/**
 * `code` is 1006 where there was no close frame
 */
export type End = {
    code: number;
    reason: string;
};
import { Requests } from './requests.js';
