/**
 * What a key does in a text field. Nothing, while an input method composes: in Chinese and Japanese
 * Enter takes the candidate, Escape drops it, arrows choose.
 *
 * Chromium and Firefox say `isComposing`, older ones `keyCode` 229. Safari ends the composition before
 * it reports the Enter that ended it: that one comes with 229 too, or within a moment of the end.
 * @module
 */

const MOMENT = 50; // milliseconds

export class Composition {
  constructor() {
    this.active = false;
    this.endedAt = -Infinity;
  }

  /** @param {HTMLElement} field */
  watch(field) {
    field.addEventListener('compositionstart', () => this.start());
    field.addEventListener('compositionend', (event) => this.end(event.timeStamp));
  }

  start() {
    this.active = true;
  }

  /** @param {number} at milliseconds */
  end(at) {
    this.active = false;
    this.endedAt = at;
  }

  /**
   * Whether a key belongs to the input method.
   * @param {{isComposing?: boolean, keyCode?: number, timeStamp: number, key?: string}} event
   */
  takes(event) {
    if (this.active || event.isComposing || event.keyCode === 229) return true;
    return event.key === 'Enter' && event.timeStamp - this.endedAt < MOMENT;
  }
}

/**
 * @typedef {{key: string, shiftKey?: boolean, ctrlKey?: boolean, metaKey?: boolean, altKey?: boolean}} Key
 */

/**
 * What a key means to the composer.
 * @param {Key} key
 * @param {{enterSends: boolean, empty: boolean}} options
 * @returns {'send' | 'edit last' | 'cancel' | null}
 */
export function meaning(key, { enterSends, empty }) {
  if (key.key === 'Enter') {
    if (key.ctrlKey || key.metaKey) return 'send';
    return enterSends && !key.shiftKey && !key.altKey ? 'send' : null;
  }
  if (key.key === 'ArrowUp' && empty && !key.shiftKey && !key.altKey && !key.ctrlKey) return 'edit last';
  return key.key === 'Escape' ? 'cancel' : null;
}
