export type ClientError = import("./errors.js").ClientError;
export type SyncEvent = import("./catchup.js").SyncEvent;
export type Patience = import("./line.js").Patience;
export type Send = import("./sends.js").Send;
export type Message = import("./shapes.js").Message;
export type Login = {
    user_id?: string;
    token?: string;
    platform?: string;
};
export type Batch = {
    /**
     * in the server's order
     */
    events: SyncEvent[];
    /**
     * where to go on after them: keep it together with them
     */
    cursor: string | null;
};
export type State = {
    status: "connecting" | "catching_up" | "online" | "waiting" | "refused" | "closed";
    /**
     * when the next attempt is made, milliseconds since 1970
     */
    retryAt?: number | undefined;
    /**
     * why not
     */
    error?: import("./errors.js").ClientError | undefined;
    /**
     * the last connection's close code
     */
    code?: number | undefined;
};
export type SendEvent = {
    type: "queued" | "failed" | "dropped";
    send: Send;
} | {
    type: "sent";
    send: Send;
    message: Message;
};
/**
 * Where sends that wait are kept. Without one they live as long as the client.
 */
export type SendStorage = {
    /**
     * in the order in which they were written
     */
    load: () => Promise<Send[]>;
    put: (send: Send) => Promise<void>;
    remove: (id: string) => Promise<void>;
};
export type Options = {
    /**
     * where the server is, `https://example.org`; a path is a prefix
     */
    url: string;
    /**
     * asked at each login if it is a function
     */
    login: Login | (() => Promise<Login> | Login);
    /**
     * takes what arrives; the next batch
     * comes when its promise is fulfilled. What it throws ends the client.
     */
    take?: ((batch: Batch) => void | Promise<void>) | undefined;
    /**
     * where to go on, as a batch gave it
     */
    cursor?: string | null | undefined;
    /**
     * where to begin without a cursor: with the
     * oldest message, with all that is not acknowledged (the default), or with what comes from now on
     */
    start?: "beginning" | "unread" | "now" | undefined;
    onstate?: ((state: State) => void) | undefined;
    /**
     * what became of a send
     */
    onsend?: ((event: SendEvent) => void) | undefined;
    storage?: SendStorage | undefined;
    /**
     * how many events may wait
     */
    buffer?: number | undefined;
    patience?: Partial<import("./line.js").Patience> | undefined;
    /**
     * where the platform has none
     */
    WebSocket?: {
        new (url: string | URL, protocols?: string | string[]): WebSocket;
        prototype: WebSocket;
        readonly CONNECTING: 0;
        readonly OPEN: 1;
        readonly CLOSING: 2;
        readonly CLOSED: 3;
    } | undefined;
    fetch?: typeof fetch | undefined;
};
