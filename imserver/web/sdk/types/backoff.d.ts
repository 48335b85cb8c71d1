/**
 * Delays that double up to a limit, each drawn evenly from zero up ("full jitter").
 * @module
 */
export class Backoff {
    /**
     * @param {number} first the most before the first attempt, in milliseconds
     * @param {number} most the most before any later one
     * @param {() => number} [random] from 0 to 1
     */
    constructor(first: number, most: number, random?: () => number);
    first: number;
    most: number;
    random: () => number;
    limit: number;
    /** The next delay, in milliseconds. */
    next(): number;
    /** Begin again with the first delay. */
    reset(): void;
}
