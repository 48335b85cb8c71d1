/**
 * The one store: holds a state, and tells its listeners once a frame that it is another one.
 * @module
 */

/** @template T */
export class Store {
  /** @param {T} state */
  constructor(state) {
    this.state = state;
    /** @type {Set<(state: T, before: T) => void>} */
    this.listeners = new Set();
    this.told = state;
    this.due = false;
  }

  /**
   * Go from this state to the next.
   * @param {(state: T) => T} step a pure function
   */
  update(step) {
    const next = step(this.state);
    if (next === this.state) return;
    this.state = next;
    if (this.due) return;
    this.due = true;
    // A hidden page has no frames, and its title and sounds must go on.
    const hidden = typeof document === 'undefined' || document.visibilityState === 'hidden';
    if (hidden) setTimeout(() => this.#tell(), 50);
    else requestAnimationFrame(() => this.#tell());
  }

  /** @param {(state: T, before: T) => void} listener @returns {() => void} to stop */
  subscribe(listener) {
    this.listeners.add(listener);
    listener(this.state, this.state);
    return () => this.listeners.delete(listener);
  }

  #tell() {
    this.due = false;
    const before = this.told;
    this.told = this.state;
    for (const listener of [...this.listeners]) listener(this.state, before);
  }
}
