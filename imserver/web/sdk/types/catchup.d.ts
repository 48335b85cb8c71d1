/** @typedef {import('./shapes.js').Message} Message */
/** @typedef {import('./shapes.js').Change} Change */
/** @typedef {import('./shapes.js').SyncPage} SyncPage */
/**
 * @typedef {{type: 'message', message: Message}
 *   | {type: 'changed', message: Message, change?: Change}
 *   | {type: 'push', name: string, data: any}
 *   | {type: 'gap', restored: boolean, oldest?: string}
 * } SyncEvent
 */
/** @typedef {{place: number, event: SyncEvent}} Item  `place` is 0 where an event has none */
export const PAGE: 200;
export class Catchup {
    /**
     * @param {object} options
     * @param {string | null} [options.cursor] where to go on
     * @param {'beginning' | 'unread' | 'now'} [options.start] where to begin without a cursor
     * @param {number} [options.most] how many events may wait
     * @param {string} [options.userId] whose messages these are
     */
    constructor({ cursor, start, most, userId }?: {
        cursor?: string | null | undefined;
        start?: "beginning" | "unread" | "now" | undefined;
        most?: number | undefined;
        userId?: string | undefined;
    });
    most: number;
    userId: string;
    start: "beginning" | "unread" | "now";
    /** @type {Item[]} */
    ready: Item[];
    /** @type {Item[]} */
    waiting: Item[];
    overflowed: boolean;
    position: number;
    delivered: number;
    anchor: number;
    behind: boolean;
    gapTold: boolean;
    /** Where to go on after a restart; null before it is known. */
    get cursor(): string | null;
    /** Whether another page may be asked for. */
    get hasRoom(): boolean;
    /** The stream of pushes is broken: what follows is to be asked for. */
    disconnect(): void;
    /**
     * Take a push.
     * @param {string} name the frame's type
     * @param {any} data
     * @param {string} [id] the frame's `message_id`
     */
    push(name: string, data: any, id?: string): void;
    /**
     * The request for the next page; to be called right before it is sent.
     * @returns {Record<string, unknown>}
     */
    ask(): Record<string, unknown>;
    /**
     * Take the answer to the last `ask`.
     * @param {SyncPage} page
     */
    take(page: SyncPage): void;
    /** The cursor is beyond everything: the server was restored from an older copy. */
    restart(): void;
    /**
     * The events that are ready; they count as handed out.
     * @param {number} [most]
     * @returns {SyncEvent[]}
     */
    next(most?: number): SyncEvent[];
    #private;
}
export type Message = import("./shapes.js").Message;
export type Change = import("./shapes.js").Change;
export type SyncPage = import("./shapes.js").SyncPage;
export type SyncEvent = {
    type: "message";
    message: Message;
} | {
    type: "changed";
    message: Message;
    change?: Change;
} | {
    type: "push";
    name: string;
    data: any;
} | {
    type: "gap";
    restored: boolean;
    oldest?: string;
};
/**
 * `place` is 0 where an event has none
 */
export type Item = {
    place: number;
    event: SyncEvent;
};
