/**
 * Who is using this page, and what they prefer; shared by the tabs of a browser.
 *
 * In mode `open` a tab may be somebody else (`?as=`): that is kept for the tab alone.
 * @module
 */

/** @typedef {{user_id: string, token?: string, token_id?: string}} Identity */

/**
 * @typedef {object} Preferences
 * @property {string | null} language
 * @property {'auto' | 'light' | 'dark'} theme
 * @property {boolean} enterSends
 * @property {boolean} notify
 */

/** @type {Preferences} */
const DEFAULTS = { language: null, theme: 'auto', enterSends: true, notify: false };

export class Session {
  /**
   * @param {string} base of the server
   * @param {{shared: Storage | null, own: Storage | null}} storages of the browser, and of the tab
   */
  constructor(base, { shared, own }) {
    this.shared = shared;
    this.own = own;
    this.name = `imserver:${base}`;
    /** @type {Identity | null} */
    this.identity = this.#read(own, 'identity') ?? this.#read(shared, 'identity');
    this.isOwn = this.#read(own, 'identity') !== null;
    /** @type {Preferences} */
    this.preferences = { ...DEFAULTS, ...this.#read(shared, 'preferences') };
  }

  /**
   * @param {Identity} identity
   * @param {boolean} forThisTab
   */
  signIn(identity, forThisTab) {
    this.identity = identity;
    this.isOwn = forThisTab;
    this.#write(forThisTab ? this.own : this.shared, 'identity', identity);
  }

  signOut() {
    this.#write(this.isOwn ? this.own : this.shared, 'identity', null);
    this.identity = null;
    this.isOwn = false;
  }

  /** @param {Partial<Preferences>} values */
  prefer(values) {
    this.preferences = { ...this.preferences, ...values };
    this.#write(this.shared, 'preferences', this.preferences);
  }

  /** @param {Storage | null} storage @param {string} key @returns {any} */
  #read(storage, key) {
    try {
      return JSON.parse(storage?.getItem(`${this.name}:${key}`) ?? 'null');
    } catch {
      return null;
    }
  }

  /** @param {Storage | null} storage @param {string} key @param {unknown} value */
  #write(storage, key, value) {
    try {
      if (value === null) storage?.removeItem(`${this.name}:${key}`);
      else storage?.setItem(`${this.name}:${key}`, JSON.stringify(value));
    } catch {
      // Full, or forbidden: it lasts as long as the page.
    }
  }
}
