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
  constructor(first, most, random = Math.random) {
    this.first = first;
    this.most = most;
    this.random = random;
    this.limit = first;
  }

  /** The next delay, in milliseconds. */
  next() {
    const delay = this.random() * this.limit;
    this.limit = Math.min(this.most, this.limit * 2);
    return delay;
  }

  /** Begin again with the first delay. */
  reset() {
    this.limit = this.first;
  }
}
