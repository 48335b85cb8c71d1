/**
 * One user's chats: the client, the cache and the store, held together. No DOM.
 *
 * What arrives goes to the cache and the cursor in one transaction, then to the store; what the user
 * does goes to the client. Views read the store, and call these methods.
 * @module
 */

import { Client, placeOf } from '../sdk/imserver.js';
import { deleteCache, openCache } from '../cache/cache.js';
import {
  addOlder, change, keyOf, messageIn, noTalks, patch, placeFor, read, receive, sendChanged, status, whereIs,
} from './conversations.js';
import { Store } from './store.js';

/** @typedef {import('./conversations.js').Talks} Talks */
/** @typedef {import('../sdk/shapes.js').Message} Message */
/** @typedef {import('../sdk/shapes.js').Group} Group */
/** @typedef {import('../sdk/shapes.js').Member} Member */
/** @typedef {import('../sdk/shapes.js').Invitation} Invitation */

/**
 * @typedef {Talks & {
 *   link: import('../sdk/options.js').State,
 *   groups: ReadonlyMap<string, Group>,
 *   members: ReadonlyMap<string, Member[]>,
 *   invitations: readonly Invitation[],
 *   notice: '' | 'gap' | 'restored',
 *   loaded: boolean,
 * }} State
 */

const PAGE = 100;
const ACK_DELAY = 300; // milliseconds: acknowledgements of one moment go together

export class Engine {
  /**
   * @param {string} url of the server
   * @param {import('./session.js').Identity} identity
   */
  constructor(url, identity) {
    this.url = url;
    this.identity = identity;
    /** @type {State} */
    const nothing = {
      ...noTalks(identity.user_id),
      link: { status: 'connecting' },
      groups: new Map(),
      members: new Map(),
      invitations: [],
      notice: '',
      loaded: false,
    };
    this.store = new Store(nothing);
    /** @type {Set<(messages: Message[], caughtUp: boolean) => void>} */
    this.arrivals = new Set(); // told of messages of others, for notifications
    /** @type {Map<string, number>} */
    this.toDeliver = new Map(); // the newest place of others, by conversation
    /** @type {Map<string, string>} */
    this.drafts = new Map();
    this.closed = false;
    /** @type {string | null} */
    this.cursor = null; // to begin with
  }

  get state() {
    return this.store.state;
  }

  /** Take up what is kept. */
  async load() {
    const cache = (this.cache = await openCache(this.url, this.identity.user_id));
    const { cursor, talks } = await cache.load();
    const sends = await cache.sends.load();
    this.#update((state) => ({
      ...state,
      talks: new Map(talks.map((talk) => [talk.key, talk])),
      sends,
      loaded: cursor !== null,
    }));
    this.cursor = cursor;
  }

  /** Connect, and catch up. */
  async connect() {
    const { cache, cursor } = this;
    if (this.closed || !cache) return;
    this.client = new Client({
      url: this.url,
      login: () => ({ ...this.identity, platform: 'web' }),
      cursor,
      start: 'beginning',
      storage: cache.sends,
      take: (batch) => this.#take(batch),
      onstate: (link) => this.#linkChanged(link),
      onsend: (event) => this.#sendChanged(event),
    });
    await this.client.open();
  }

  close() {
    this.closed = true;
    this.client?.close();
    this.cache?.close();
  }

  /** End, and delete all that is kept of the user. */
  async forget() {
    this.close();
    await deleteCache(this.url, this.identity.user_id);
  }

  /** @param {(state: State) => State} step */
  #update(step) {
    this.store.update(step);
  }

  /**
   * A reducer of conversations, applied to the whole state.
   * @param {(state: Talks) => Talks} step
   */
  #reduce(step) {
    this.store.update((state) => {
      const next = step(state);
      return next === state ? state : { ...state, ...next };
    });
  }

  // -- what arrives ---------------------------------------------------------------------------

  /** @param {import('../sdk/options.js').Batch} batch */
  async #take({ events, cursor }) {
    const { me } = this.state;
    /** @type {Message[]} */
    const messages = [];
    /** @type {Message[]} */
    const changes = [];
    for (const event of events) {
      if (event.type === 'message') messages.push(event.message);
      else if (event.type === 'changed') changes.push(event.message);
      else if (event.type === 'gap' && event.restored) await this.#restored();
      else if (event.type === 'gap') this.#update((state) => ({ ...state, notice: state.notice || 'gap' }));
    }
    this.#reduce((state) => change(receive(state, messages), changes));
    for (const event of events) if (event.type === 'push') void this.#push(event.name, event.data);
    const entries = [...messages, ...changes].map((message) => ({ key: keyOf(me, message), message }));
    const keys = new Set(entries.map((entry) => entry.key));
    await this.#save(entries, keys, cursor);
    this.#follow(messages);
  }

  /**
   * @param {import('../cache/cache.js').Entry[]} entries
   * @param {Iterable<string>} keys
   * @param {string | null} [cursor]
   */
  async #save(entries, keys, cursor = null) {
    const talks = [...keys].map((key) => this.state.talks.get(key)).filter((talk) => talk !== undefined);
    try {
      await this.cache?.save(entries, talks, cursor);
    } catch {
      // The disk is full, or another tab deleted everything: the server has it.
    }
  }

  /** @param {Message[]} messages */
  #follow(messages) {
    const { me, groups } = this.state;
    const others = [];
    const stale = new Set();
    for (const message of messages) {
      const { group_id: group, event } = message;
      if (group && (!groups.has(group) || event)) stale.add(group);
      if (event && group && this.state.members.has(group)) this.loadMembers(group).catch(() => {}); // one who left sees it no more
      if (message.sender_id === me) continue;
      if (message.type !== 'system') others.push(message);
      if (message.status === 'sent') this.toDeliver.set(keyOf(me, message), placeOf(message.id));
    }
    for (const group of stale) void this.#loadGroup(group);
    if (others.length) {
      const caughtUp = this.state.link.status === 'online';
      for (const tell of this.arrivals) tell(others, caughtUp);
    }
    if (this.toDeliver.size && !this.deliverTimer) {
      this.deliverTimer = setTimeout(() => this.#acknowledge(), ACK_DELAY);
    }
  }

  #acknowledge() {
    this.deliverTimer = undefined;
    for (const [key, place] of this.toDeliver) {
      const talk = this.state.talks.get(key);
      if (talk && talk.read < place) this.#ack(place, 'delivered');
    }
    this.toDeliver.clear();
  }

  /** @param {number} place @param {'delivered' | 'read'} how */
  #ack(place, how) {
    const request = { message_id: `msg_${place}`, status: how, cumulative: true };
    this.client?.call('ack', request).catch(() => {}); // the next one says it too
  }

  /**
   * @param {string} name
   * @param {any} data
   */
  async #push(name, data) {
    if (name === 'message_status') {
      let key = whereIs(this.state, data.message_id);
      if (!key) {
        const answer = await this.client?.call('get_message', { message_id: data.message_id }).catch(() => null);
        if (!answer) return;
        key = keyOf(this.state.me, answer.message);
      }
      const at = key;
      this.#reduce((state) => status(state, at, data));
      if (at.startsWith('g:') && data.user_id !== this.state.me) this.#refresh(data.message_id);
      await this.#save([], [at]);
    } else if (name === 'invitation') {
      this.#update((state) => ({
        ...state,
        invitations: [...state.invitations.filter((one) => one.group_id !== data.group_id), data],
      }));
    }
  }

  /** A message as the server has it now. @param {string} id */
  async #refresh(id) {
    const answer = await this.client?.call('get_message', { message_id: id }).catch(() => null);
    if (answer) this.#reduce((state) => change(state, [answer.message]));
  }

  async #restored() {
    await this.cache?.forget();
    this.#update((state) => ({ ...state, ...noTalks(state.me), sends: state.sends, notice: 'restored' }));
  }

  /** The user has seen the notice. */
  dismiss() {
    this.#update((state) => ({ ...state, notice: '' }));
  }

  /** @param {import('../sdk/options.js').State} link */
  #linkChanged(link) {
    const loaded = this.state.loaded || link.status === 'online';
    this.#update((state) => ({ ...state, link, loaded }));
    if (link.status === 'catching_up') void this.#loadAround();
  }

  /** What the stream of messages does not say. */
  async #loadAround() {
    try {
      const [{ groups }, { invitations }] = await Promise.all([
        this.client?.call('list_groups'),
        this.client?.call('list_invitations'),
      ]);
      this.#update((state) => {
        const known = new Map(state.groups);
        for (const group of groups) known.set(group.id, group);
        return { ...state, groups: known, invitations };
      });
      this.#nameGroups(groups);
    } catch {
      // The connection is gone; the next one asks again.
    }
  }

  /** @param {string} id */
  async #loadGroup(id) {
    const answer = await this.client?.call('get_group', { group_id: id }).catch(() => null);
    if (!answer) return;
    this.#update((state) => ({ ...state, groups: new Map(state.groups).set(id, answer.group) }));
    this.#nameGroups([answer.group]);
  }

  /** The cache keeps the names of groups, for when the network is away. @param {Group[]} groups */
  #nameGroups(groups) {
    const renamed = groups.filter((group) => {
      const talk = this.state.talks.get(`g:${group.id}`);
      return !talk || talk.name !== group.name || talk.left;
    });
    if (!renamed.length) return;
    for (const group of renamed) {
      this.#reduce((state) => patch(state, `g:${group.id}`, { name: group.name, left: false }));
    }
    void this.#save([], renamed.map((group) => `g:${group.id}`));
  }

  /** @param {import('../sdk/options.js').SendEvent} event */
  #sendChanged(event) {
    this.#reduce((state) => sendChanged(state, event));
    if (event.type !== 'sent') return;
    const key = keyOf(this.state.me, event.message);
    void this.#save([{ key, message: event.message }], [key]);
  }

  // -- what the user does ---------------------------------------------------------------------

  /**
   * Load a conversation's newest messages, if they are not there.
   * @param {string} key
   */
  async openTalk(key) {
    if (this.state.timelines.has(key)) return;
    // What arrives while the cache is read has a place to go to.
    this.#reduce((state) => addOlder(state, key, [], true));
    await this.loadOlder(key);
  }

  /**
   * Load older messages of a conversation.
   * @param {string} key
   * @param {number} [limit]
   */
  async loadOlder(key, limit = PAGE) {
    const timeline = this.state.timelines.get(key);
    const before = timeline?.messages.length ? placeOf(timeline.messages[0].id) : Infinity;
    const found = (await this.cache?.older(key, before, limit)) ?? [];
    this.#reduce((state) => addOlder(state, key, found, found.length === limit));
  }

  /**
   * Load a conversation back to one message; whether it is there.
   * @param {string} key
   * @param {string} id
   */
  async loadTo(key, id) {
    await this.openTalk(key);
    for (;;) {
      const timeline = this.state.timelines.get(key);
      if (messageIn(this.state, key, id) && timeline?.messages.some((message) => message.id === id)) return true;
      if (!timeline?.hasOlder) return false;
      await this.loadOlder(key, 10 * PAGE);
    }
  }

  /** An operation on one's own account. @param {string} name @param {Record<string, unknown>} request */
  account(name, request) {
    return this.#call(name, request);
  }

  /** Messages with these words. @param {string} q */
  search(q) {
    return this.#call('search_messages', { q: q.slice(0, 256), limit: 20 });
  }

  /**
   * @param {string} key
   * @param {string} content
   */
  send(key, content) {
    const place = placeFor(key);
    const to = 'group_id' in place ? place : { receiver_id: place.user_id };
    this.client?.send({ ...to, type: 'text', content }).catch(() => {}); // `onsend` says it
  }

  /** I have seen a conversation to its end. @param {string} key */
  markRead(key) {
    const talk = this.state.talks.get(key);
    if (!talk || talk.unread === 0) return;
    const messages = this.state.timelines.get(key)?.messages ?? [];
    const last = messages.findLast((message) => message.sender_id !== this.state.me) ?? talk.last;
    if (!last || last.sender_id === this.state.me) return;
    const place = placeOf(last.id);
    this.#reduce((state) => read(state, key, Math.max(place, placeOf(talk.last?.id))));
    this.#ack(place, 'read');
    void this.#save([], [key]);
  }

  /** @param {string} key @param {Partial<import('./conversations.js').Talk>} values */
  patch(key, values) {
    this.#reduce((state) => patch(state, key, values));
    void this.#save([], [key]);
  }

  /**
   * @param {string} name
   * @param {string[]} members
   * @param {boolean} isPrivate
   * @returns {Promise<string>} the conversation
   */
  async createGroup(name, members, isPrivate) {
    const { group } = await this.#call('create_group', { name, members, private: isPrivate });
    this.#update((state) => ({ ...state, groups: new Map(state.groups).set(group.id, group) }));
    this.#nameGroups([group]);
    return `g:${group.id}`;
  }

  /** @param {string} id */
  async loadMembers(id) {
    const { members } = await this.#call('get_members', { group_id: id });
    this.#update((state) => ({ ...state, members: new Map(state.members).set(id, members) }));
  }

  /**
   * An operation on a group, and what changes with it.
   * @param {string} name
   * @param {{group_id: string} & Record<string, unknown>} request
   */
  async govern(name, request) {
    await this.#call(name, request);
    const id = request.group_id;
    this.#update((state) => ({
      ...state,
      invitations: state.invitations.filter((one) => one.group_id !== id || name === 'invite'),
    }));
    if (name === 'decline_invitation') return;
    if (name === 'leave_group' || name === 'dissolve_group') {
      this.patch(`g:${id}`, { left: true });
      return;
    }
    await this.#loadGroup(id);
    if (this.state.members.has(id)) await this.loadMembers(id);
  }

  /** @param {string} name @param {Record<string, unknown>} request */
  #call(name, request) {
    if (!this.client) throw new Error('not open');
    return this.client.call(name, request, { timeout: 8_000 });
  }

  /** What a conversation is called. @param {string} key @param {string} notes */
  nameOf(key, notes) {
    if (key.startsWith('u:')) return key.slice(2) === this.state.me ? notes : key.slice(2);
    return this.state.groups.get(key.slice(2))?.name ?? this.state.talks.get(key)?.name ?? '…';
  }

  /** @param {string} key @param {string} id */
  message(key, id) {
    return messageIn(this.state, key, id);
  }
}
